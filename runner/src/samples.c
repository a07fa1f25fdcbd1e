#include "samples.h"

#include <stdlib.h>
#include <string.h>

bool samples_reserve(samples *list, size_t count, failure *why) {
  if (count <= list->capacity) return true;
  int64_t *grown = realloc(list->ns, count * sizeof *grown);
  if (grown == NULL) return fail(why, "no memory for %zu samples", count);
  memset(grown + list->capacity, 0xFF, (count - list->capacity) * sizeof *grown);
  list->ns = grown;
  list->capacity = count;
  return true;
}
