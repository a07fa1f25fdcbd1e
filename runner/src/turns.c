#define _GNU_SOURCE
#include "turns.h"

#include <stdlib.h>
#include <string.h>

#include "baton.h"
#include "language.h"
#include "process_facts.h"
#include "timed_loop.h"

#define UNTIMED_SHARE 0.1 /* of a turn */

bool turns_reserve(session *run, failure *why) {
  run->turns = calloc(run->arguments.own_turns + (size_t)run->arguments.bursts + 1, sizeof *run->turns);
  return run->turns != NULL || fail(why, "out of memory");
}

bool turns_await_preparation(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "turn";
  return arguments->turns == NULL || arguments->turns[0] == arguments->side || baton_wait(why);
}

bool turns_await_all(session *run, failure *why) {
  if (!run->arguments.barrier) return true;
  run->stage = "turn";
  failure ended;
  if (!baton_pass(why)) return false;
  return baton_wait(&ended) || fail(why, "another process ended before all were ready");
}

/* Iterations until the turn's time is over. Those at its beginning do not count: the other side's data is in the caches, and
 * its threads may still be looking for work. */
static bool take_turn(session *run, failure *why) {
  const double turn_ns = run->arguments.turn_seconds * 1e9;
  iteration timed;
  const int64_t turn_began_ns = monotonic_now_ns();
  do {
    if (!iterate(run, run->latency_ns.count, &timed, why)) return false;
  } while ((double)(timed.ended_ns - turn_began_ns) < turn_ns * UNTIMED_SHARE);
  turn_taken *turn = &run->turns[run->turn_count++];
  *turn = (turn_taken){.began_ns = timed.ended_ns};
  const process_usage before = usage_now();
  do {
    if (!iterate(run, run->latency_ns.count, &timed, why)) return false;
    samples_add(&run->latency_ns, timed.ended_ns - timed.began_ns);
    ++turn->iterations;
  } while ((int64_t)turn->iterations < run->arguments.iterations && (double)(timed.ended_ns - turn->began_ns) < turn_ns);
  usage_add_since(&run->timed_usage, before);
  return true;
}

static bool answer_once(session *run, failure *why) {
  run->stage = "execute";
  run->turns[run->turn_count++] = (turn_taken){.began_ns = monotonic_now_ns(), .iterations = 1};
  const process_usage before = usage_now();
  const bool done = generate(run->engine, &run->prompts[0], (size_t)run->arguments.prefill, (size_t)run->arguments.generate,
                             &run->answers[run->answer_count++], why);
  usage_add_since(&run->timed_usage, before);
  return done;
}

bool turns_take(session *run, failure *why) {
  bool (*const take_one)(session *, failure *) = is_language(run) ? answer_once : take_turn;
  const char *turns = run->arguments.turns;
  const char side = run->arguments.side;
  const size_t count = strlen(turns);
  run->stage = "turn";
  if (!baton_pass(why)) return false;
  for (size_t i = 0; i < count; ++i) {
    if (turns[i] != side) continue;
    if ((i == 0 || turns[i - 1] != side) && !baton_wait(why)) return false;
    if (!take_one(run, why)) return false;
    run->stage = "turn";
    if (i + 1 < count && turns[i + 1] != side && !baton_pass(why)) return false;
  }
  /* Not gone before the other one is done: the end of a process costs time on its processor, too. */
  failure ended;
  if (turns[count - 1] != side) baton_wait(&ended);
  return true;
}
