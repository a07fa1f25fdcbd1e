#define _GNU_SOURCE
#include "operator_profile.h"

#include <stdlib.h>
#include <string.h>

static bool is_at(const profiled_operator *operator, operator_place place) {
  return operator->place.call == place.call && operator->place.step == place.step &&
         operator->place.sequence == place.sequence;
}

/* Operators come in the same order every time: where the last one was found, the next one follows. */
static profiled_operator *find(operator_profile *profile, operator_place place) {
  for (size_t looked_at = 0; looked_at < profile->count; ++looked_at) {
    const size_t index = (profile->cursor + looked_at) % profile->count;
    if (!is_at(&profile->operators[index], place)) continue;
    profile->cursor = index + 1;
    return &profile->operators[index];
  }
  return NULL;
}

static profiled_operator *append(operator_profile *profile, operator_place place, const char *name,
                                 const char *delegate) {
  if (profile->count == profile->capacity) {
    const size_t capacity = profile->capacity * 2 + 64;
    profiled_operator *grown = realloc(profile->operators, capacity * sizeof *grown);
    if (grown == NULL) return NULL;
    profile->operators = grown;
    profile->capacity = capacity;
  }
  profiled_operator added = {.place = place, .name = strdup(name), .delegate = delegate};
  added.ns = calloc(profile->invocations, sizeof *added.ns);
  if (added.name == NULL || added.ns == NULL) return NULL;
  profile->operators[profile->count] = added;
  profile->cursor = profile->count + 1;
  return &profile->operators[profile->count++];
}

bool operator_profile_add(operator_profile *profile, operator_place place, const char *name, const char *delegate,
                          int64_t ns, failure *why) {
  profiled_operator *operator = find(profile, place);
  if (operator == NULL) operator = append(profile, place, name, delegate);
  if (operator == NULL) return fail(why, "no memory for the times of %zu operators", profile->count + 1);
  operator->ns[profile->invocation] += ns;
  return true;
}
