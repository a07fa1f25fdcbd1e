#include "steady.h"

#include <stdlib.h>

#define WINDOW_ITERATIONS 8
#define WINDOW_NS 100000000
#define TOLERANCE 0.01

static int ascending(const void *left, const void *right) {
  const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

static void close_window(steady_watch *watch) {
  const size_t count = watch->window.count, quarter = (count - 1) / 4;
  int64_t *sorted = watch->window.ns;
  qsort(sorted, count, sizeof *sorted, ascending);
  watch->last[watch->windows++ % STEADY_WINDOWS] = (steady_window){.first = watch->seen - count,
                                                                  .low = sorted[quarter],
                                                                  .median = sorted[count / 2],
                                                                  .high = sorted[count - 1 - quarter]};
  watch->window.count = 0;
  watch->spent_ns = 0;
}

static bool agree(const steady_window *windows) {
  int64_t low = windows[0].low, high = windows[0].high, least = windows[0].median, most = windows[0].median;
  for (size_t i = 1; i < STEADY_WINDOWS; ++i) {
    if (windows[i].low > low) low = windows[i].low;
    if (windows[i].high < high) high = windows[i].high;
    if (windows[i].median < least) least = windows[i].median;
    if (windows[i].median > most) most = windows[i].median;
  }
  return (low <= least && most <= high) || (double)most <= (1 + TOLERANCE) * (double)least;
}

bool steady_take(steady_watch *watch, int64_t latency_ns, failure *why) {
  if (watch->reached) return true;
  if (!samples_make_room(&watch->window, why)) return false;
  samples_add(&watch->window, latency_ns);
  ++watch->seen;
  watch->spent_ns += latency_ns;
  if (watch->window.count < WINDOW_ITERATIONS || watch->spent_ns < WINDOW_NS) return true;
  close_window(watch);
  if (watch->windows < STEADY_WINDOWS || !agree(watch->last)) return true;
  watch->reached = true;
  watch->since = watch->last[watch->windows % STEADY_WINDOWS].first;
  watch->known = watch->seen;
  return true;
}

void steady_release(steady_watch *watch) { samples_release(&watch->window); }
