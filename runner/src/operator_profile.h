/* Time per operator of a few invocations, as an engine tells it. */
#ifndef EDGEDEPLOY_OPERATOR_PROFILE_H
#define EDGEDEPLOY_OPERATOR_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where in the program an operator is called; docs/runner-protocol.md says what the numbers are for each format. */
typedef struct {
  int32_t sequence;
  int32_t call;
  int32_t step; /* position among what the call's delegate ran; WHOLE_CALL for the call itself */
} operator_place;

enum { WHOLE_CALL = -1 };

typedef struct {
  operator_place place;
  char *name;
  const char *delegate; /* NULL: a kernel of the engine's own; empty: a delegate whose name it does not tell */
  int64_t *ns;          /* one per profiled invocation; 0 where it did not run */
} profiled_operator;

typedef struct {
  profiled_operator *operators;
  size_t count;
  size_t capacity;
  size_t cursor;
  size_t invocations; /* how many there will be at most */
  size_t invocation;  /* which one is being recorded */
} operator_profile;

/* Adds `ns` to this operator's time in the present invocation: one that is called in a loop comes more than once.
 * `name` is copied, `delegate` has to last. */
bool operator_profile_add(operator_profile *profile, operator_place place, const char *name, const char *delegate,
                          int64_t ns, failure *why);

#ifdef __cplusplus
}
#endif
#endif
