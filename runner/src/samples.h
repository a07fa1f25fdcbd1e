/* Times in nanoseconds, one after the other. Their memory is touched when it is reserved, so that no page fault falls into a
 * measurement. */
#ifndef EDGEDEPLOY_SAMPLES_H
#define EDGEDEPLOY_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

typedef struct {
  int64_t *ns;
  size_t count;
  size_t capacity;
} samples;

/* Room for `count` of them in all. */
bool samples_reserve(samples *list, size_t count, failure *why);

/* Room for one more, and for twice as many where there was none left. Never between two readings of the clock. */
bool samples_make_room(samples *list, failure *why);
void samples_release(samples *list);

/* There has to be room. */
static inline void samples_add(samples *list, int64_t ns) { list->ns[list->count++] = ns; }

#endif
