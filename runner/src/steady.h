/* Is a process warm? The rule of edgedeploy/stats/steady.py, latency by latency; a test compares the two.
 *
 * Latencies are cut into windows of at least 8 iterations and 100 ms. The process is steady when the medians of three windows in
 * a row all lie in the interquartile range of each of the three, or within 1 % of one another. */
#ifndef EDGEDEPLOY_STEADY_H
#define EDGEDEPLOY_STEADY_H

#include "samples.h"

#define STEADY_WINDOWS 3

typedef struct {
  size_t first; /* iteration */
  int64_t low, median, high;
} steady_window;

typedef struct {
  bool reached;
  size_t since; /* the first iteration of the first of the three windows */
  size_t known; /* how many there had been when it was known */
  size_t seen;
  samples window; /* the one that is being filled */
  int64_t spent_ns;
  steady_window last[STEADY_WINDOWS]; /* window k is at k modulo STEADY_WINDOWS */
  size_t windows;
} steady_watch;

/* Takes the next latency; does nothing once the process is steady. Sorts when a window is full. */
bool steady_take(steady_watch *watch, int64_t latency_ns, failure *why);
void steady_release(steady_watch *watch);

#endif
