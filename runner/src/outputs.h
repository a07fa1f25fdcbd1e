/* The model's outputs: a file per tensor, every case of it back to back. */
#ifndef EDGEDEPLOY_OUTPUTS_H
#define EDGEDEPLOY_OUTPUTS_H

#include <stdio.h>

#include "engine.h"
#include "json_text.h"
#include "sha256.h"

typedef struct {
  tensor_spec spec;
  FILE *file;
  uint8_t *bytes;
  size_t tensor_bytes;
  sha256_stream digest; /* of what was written */
  char sha256[SHA256_HEX_BYTES];
} output_data;

typedef struct {
  output_data *tensors;
  size_t count;
} output_set;

/* Writes what the engine has just computed. The files are made with case 0. */
bool outputs_write(output_set *outputs, size_t which_case, const char *folder, const runner_engine *engine, failure *why);
bool outputs_close(output_set *outputs, failure *why);
void outputs_describe(const output_set *outputs, json_text *text);

#endif
