/* The file of the model, read once before it is loaded. */
#ifndef EDGEDEPLOY_MODEL_FILE_H
#define EDGEDEPLOY_MODEL_FILE_H

#include <stdint.h>

#include "failure.h"
#include "sha256.h"

typedef struct {
  char sha256[SHA256_HEX_BYTES];
  int64_t size_bytes;
} model_file;

bool model_file_hash(model_file *model, const char *path, failure *why);

#endif
