#define _GNU_SOURCE
#include "timed_loop.h"

#include "process_facts.h"

bool iterate(session *run, iteration *timed, failure *why) {
  run->stage = "input";
  if (!inputs_set(&run->inputs, 0, run->engine, why)) return false;
  run->stage = "execute";
  bool (*const invoke)(failure *) = run->engine->invoke;
  const int64_t began_ns = monotonic_now_ns();
  const bool done = invoke(why);
  timed->ended_ns = monotonic_now_ns();
  timed->began_ns = began_ns;
  return done;
}

bool warm_up(session *run, failure *why) {
  iteration timed;
  for (int64_t i = 0; i < run->arguments.warmup && run->arguments.iterations > 0; ++i) {
    if (!iterate(run, &timed, why)) return false;
    samples_add(&run->warmup_ns, timed.ended_ns - timed.began_ns);
  }
  return true;
}

bool measure(session *run, failure *why) {
  iteration timed;
  const int64_t loop_began_ns = monotonic_now_ns();
  for (int64_t i = 0; i < run->arguments.iterations; ++i) {
    if (!iterate(run, &timed, why)) return false;
    samples_add(&run->latency_ns, timed.ended_ns - timed.began_ns);
    if ((double)(timed.ended_ns - loop_began_ns) >= run->arguments.max_seconds * 1e9) break;
  }
  return true;
}

bool profile(session *run, failure *why) {
  iteration timed;
  for (int64_t i = 0; i < run->arguments.warmup; ++i) {
    if (!iterate(run, &timed, why)) return false;
  }
  const int64_t loop_began_ns = monotonic_now_ns();
  while (run->profile.invocation < run->profile.invocations) {
    if (!run->engine->begin_profile(why) || !iterate(run, &timed, why) || !run->engine->read_profile(&run->profile, why)) {
      return false;
    }
    samples_add(&run->profiled_ns, timed.ended_ns - timed.began_ns);
    ++run->profile.invocation;
    if ((double)(timed.ended_ns - loop_began_ns) >= run->arguments.max_seconds * 1e9) break;
  }
  return true;
}
