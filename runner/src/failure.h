/* Why something did not work, as one message; the session adds the stage. */
#ifndef EDGEDEPLOY_FAILURE_H
#define EDGEDEPLOY_FAILURE_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  char message[1024];
} failure;

/* Writes the message (cut off when too long) and returns false, so that `return fail(...)` reads well. */
bool fail(failure *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
