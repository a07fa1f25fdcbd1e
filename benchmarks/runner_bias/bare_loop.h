/* What a bare loop has besides the engine: the clock, and its samples on stdout. */
#ifndef BARE_LOOP_H
#define BARE_LOOP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void print_samples(const int64_t *ns, size_t count) {
  for (size_t i = 0; i < count; ++i) printf("%lld\n", (long long)ns[i]);
}

static inline void check(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "failed: %s\n", what);
  exit(1);
}

#endif
