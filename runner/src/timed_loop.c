#define _GNU_SOURCE
#include "timed_loop.h"

#include "process_facts.h"

bool iterate(session *run, size_t number, iteration *timed, failure *why) {
  run->stage = "input";
  if (!inputs_set(&run->inputs, run->arguments.vary ? number % run->inputs.cases : 0, run->engine, why)) return false;
  run->stage = "execute";
  bool (*const invoke)(failure *) = run->engine->invoke;
  const int64_t began_ns = monotonic_now_ns();
  const bool done = invoke(why);
  timed->ended_ns = monotonic_now_ns();
  timed->began_ns = began_ns;
  return done;
}

bool warm_up(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  const size_t least = (size_t)arguments->warmup;
  const double most_ns = arguments->warmup_seconds * 1e9;
  size_t *const done = &run->warmup_iterations;
  if (arguments->iterations == 0) return true;
  const int64_t loop_began_ns = monotonic_now_ns();
  double spent_ns = 0;
  while (*done < least || (!run->steady.reached && spent_ns < most_ns && *done < MAX_ITERATIONS)) {
    iteration timed;
    if (!iterate(run, *done, &timed, why)) return false;
    const int64_t ns = timed.ended_ns - timed.began_ns;
    spent_ns = (double)(timed.ended_ns - loop_began_ns);
    ++*done;
    if (run->warmup_ns.count < run->warmup_ns.capacity) samples_add(&run->warmup_ns, ns);
    if (most_ns > 0 && !steady_take(&run->steady, ns, why)) return false;
  }
  return true;
}

bool measure(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  const double least_ns = arguments->min_seconds * 1e9, most_ns = arguments->max_seconds * 1e9;
  const size_t least = (size_t)arguments->iterations;
  if (least == 0) return true;
  const int64_t loop_began_ns = monotonic_now_ns();
  const size_t *done = &run->latency_ns.count;
  const process_usage before = usage_now();
  double spent_ns;
  do {
    iteration timed;
    if (!samples_make_room(&run->latency_ns, why) || !iterate(run, *done, &timed, why)) return false;
    samples_add(&run->latency_ns, timed.ended_ns - timed.began_ns);
    spent_ns = (double)(timed.ended_ns - loop_began_ns);
  } while (spent_ns < most_ns && (*done < least || spent_ns < least_ns) && *done < MAX_ITERATIONS);
  usage_add_since(&run->timed_usage, before);
  return true;
}

bool profile(session *run, failure *why) {
  iteration timed;
  for (int64_t i = 0; i < run->arguments.warmup; ++i) {
    if (!iterate(run, (size_t)i, &timed, why)) return false;
  }
  const int64_t loop_began_ns = monotonic_now_ns();
  while (run->profile.invocation < run->profile.invocations) {
    if (!run->engine->begin_profile(why) || !iterate(run, run->profile.invocation, &timed, why) ||
        !run->engine->read_profile(&run->profile, why)) {
      return false;
    }
    samples_add(&run->profiled_ns, timed.ended_ns - timed.began_ns);
    ++run->profile.invocation;
    if ((double)(timed.ended_ns - loop_began_ns) >= run->arguments.max_seconds * 1e9) break;
  }
  return true;
}
