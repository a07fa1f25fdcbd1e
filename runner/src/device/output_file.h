/* The file that is received or assembled: written from some byte on, and hashed from its first. */
#ifndef EDGEDEPLOY_DEVICE_OUTPUT_FILE_H
#define EDGEDEPLOY_DEVICE_OUTPUT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "following_digest.h"

typedef struct {
  int descriptor;
  const char *path;
  uint64_t at_bytes; /* where the next byte goes */
  following_digest *digest;
} output_file;

/* `flags` as for open(), beside reading and writing. */
bool output_open(output_file *file, const char *path, int flags, uint64_t at_bytes, failure *why);
bool output_append(output_file *file, const uint8_t *bytes, size_t size_bytes, failure *why);
/* Prints "SHA256 SIZE\n" for the bytes from the first to the last one appended. */
bool output_close(output_file *file, failure *why);

#endif
