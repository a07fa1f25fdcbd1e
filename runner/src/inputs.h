/* The model's inputs: every case of every tensor, read before anything is loaded. */
#ifndef EDGEDEPLOY_INPUTS_H
#define EDGEDEPLOY_INPUTS_H

#include "arguments.h"
#include "engine.h"

typedef struct {
  uint8_t *bytes; /* all cases, back to back */
  size_t tensor_bytes;
} input_data;

typedef struct {
  input_data *tensors;
  size_t count;
  size_t cases;
} input_set;

/* `stage` says whether a file could not be read or does not fit, when this fails. */
bool inputs_read(input_set *inputs, const runner_arguments *arguments, const char **stage, failure *why);
/* Tells the engine what comes. */
bool inputs_bind(const runner_arguments *arguments, const runner_engine *engine, failure *why);
bool inputs_set(const input_set *inputs, size_t which_case, const runner_engine *engine, failure *why);

#endif
