#include "samples.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 4096

bool samples_reserve(samples *list, size_t count, failure *why) {
  if (count <= list->capacity) return true;
  int64_t *grown = realloc(list->ns, count * sizeof *grown);
  if (grown == NULL) return fail(why, "no memory for %zu samples", count);
  memset(grown + list->capacity, 0xFF, (count - list->capacity) * sizeof *grown);
  list->ns = grown;
  list->capacity = count;
  return true;
}

bool samples_make_room(samples *list, failure *why) {
  if (list->count < list->capacity) return true;
  return samples_reserve(list, list->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : 2 * list->capacity, why);
}

void samples_release(samples *list) {
  free(list->ns);
  *list = (samples){0};
}
