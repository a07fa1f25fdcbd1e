/* What edgedeploy-device does, one function per verb; docs/device-helper.md says what each reads and prints. */
#ifndef EDGEDEPLOY_DEVICE_VERBS_H
#define EDGEDEPLOY_DEVICE_VERBS_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

enum {
  EXIT_FAILED = 1,     /* something could not be read or written */
  EXIT_BAD_RANGE = 2,  /* a line of the input is no range, or names bytes that are not there */
  EXIT_WRONG_USE = 64, /* wrong arguments; as the runners end */
};

typedef struct {
  const char *file;
  uint64_t offset_bytes;
  bool has_size;
  uint64_t size_bytes; /* with has_size: the file is cut to the end of the input only where that is this size */
  bool sync;
} receive_arguments;

/* Each returns the program's exit code; `why` is set where that is not 0. */
int device_receive(const receive_arguments *arguments, failure *why);
int device_assemble(const char *file, failure *why);
int device_hash(failure *why);
int device_ranges(const char *file, failure *why);
int device_chunks(const char *file, failure *why);

#endif
