#define _GNU_SOURCE
#include "windows.h"

#include <stdlib.h>

#include "process_facts.h"
#include "timed_loop.h"

bool windows_reserve(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  if (arguments->window_seconds <= 0) return true;
  const size_t most = (size_t)(arguments->max_seconds / arguments->window_seconds) + 2;
  run->windows = calloc(most, sizeof *run->windows);
  return run->windows != NULL ? samples_reserve(&run->latency_ns, most * WINDOW_KEPT, why) : fail(why, "out of memory");
}

/* Every `stride`-th iteration is kept. When they become too many, every other one of them is given up, and the stride doubles. */
static void keep(window_taken *window, samples *list, int64_t ns) {
  const size_t number = window->iterations++;
  if (number % window->stride != 0) return;
  if (window->kept == WINDOW_KEPT) {
    int64_t *first = &list->ns[list->count - WINDOW_KEPT];
    for (size_t i = 0; i < WINDOW_KEPT / 2; ++i) first[i] = first[2 * i];
    list->count -= WINDOW_KEPT / 2;
    window->kept = WINDOW_KEPT / 2;
    window->stride *= 2;
    if (number % window->stride != 0) return;
  }
  samples_add(list, ns);
  ++window->kept;
}

bool windows_take(session *run, failure *why) {
  const double all_ns = run->arguments.max_seconds * 1e9, window_ns = run->arguments.window_seconds * 1e9;
  run->suspended_ns = suspended_ns();
  const process_usage before = usage_now();
  const int64_t loop_began_ns = monotonic_now_ns();
  double next_ns = 0; /* when the next window begins */
  size_t number = 0;
  iteration timed;
  do {
    if (!iterate(run, number++, &timed, why)) return false;
    const double at_ns = (double)(timed.began_ns - loop_began_ns);
    if (at_ns >= next_ns) {
      run->windows[run->window_count++] = (window_taken){.began_ns = timed.began_ns, .stride = 1};
      do next_ns += window_ns;
      while (next_ns <= at_ns);
    }
    keep(&run->windows[run->window_count - 1], &run->latency_ns, timed.ended_ns - timed.began_ns);
  } while ((double)(timed.ended_ns - loop_began_ns) < all_ns);
  run->timed_ns = timed.ended_ns - loop_began_ns;
  usage_add_since(&run->timed_usage, before);
  return true;
}
