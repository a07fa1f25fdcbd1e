/* The file of the model, read once before it is loaded; so it is in the page cache, unless it is taken out again. */
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
/* Takes the file out of the page cache. Returns how many of its bytes are in there all the same (another process has it mapped,
 * or its file system has no other place for it); -1 where the system does not tell. */
int64_t model_file_evict(const char *path);

#endif
