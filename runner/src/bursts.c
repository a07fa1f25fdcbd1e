#define _GNU_SOURCE
#include "bursts.h"

#include <errno.h>
#include <time.h>

#include "process_facts.h"
#include "timed_loop.h"

static void rest(double seconds) {
  struct timespec left = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

bool bursts_take(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  double spent_ns = 0;
  while ((int64_t)run->turn_count < arguments->bursts && (run->turn_count == 0 || spent_ns < arguments->max_seconds * 1e9)) {
    rest(arguments->idle_seconds);
    turn_taken *burst = &run->turns[run->turn_count++];
    *burst = (turn_taken){.began_ns = monotonic_now_ns()};
    const process_usage before = usage_now();
    while ((int64_t)burst->iterations < arguments->iterations) {
      iteration timed;
      if (!iterate(run, run->latency_ns.count, &timed, why)) return false;
      samples_add(&run->latency_ns, timed.ended_ns - timed.began_ns);
      ++burst->iterations;
    }
    usage_add_since(&run->timed_usage, before);
    spent_ns += (double)(monotonic_now_ns() - burst->began_ns);
  }
  return true;
}
