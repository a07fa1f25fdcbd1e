#define _GNU_SOURCE
#include "inputs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool read_whole_file(const char *path, uint8_t **bytes, size_t *size_bytes, failure *why) {
  FILE *file = fopen(path, "rbe");
  if (file == NULL) return fail(why, "cannot open %s: %s", path, strerror(errno));
  struct stat info;
  if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode)) {
    fclose(file);
    return fail(why, "%s is not a file", path);
  }
  *size_bytes = (size_t)info.st_size;
  *bytes = malloc(*size_bytes + 1);
  const bool complete = *bytes != NULL && fread(*bytes, 1, *size_bytes, file) == *size_bytes;
  fclose(file);
  return complete || fail(why, "cannot read all of %s", path);
}

bool inputs_read(input_set *inputs, const runner_arguments *arguments, const char **stage, failure *why) {
  inputs->tensors = calloc(arguments->input_count + 1, sizeof *inputs->tensors);
  if (inputs->tensors == NULL) return fail(why, "out of memory");
  inputs->count = arguments->input_count;
  inputs->cases = 1;
  for (size_t i = 0; i < arguments->input_count; ++i) {
    const input_argument *argument = &arguments->inputs[i];
    input_data *input = &inputs->tensors[i];
    char shape[SHAPE_TEXT_BYTES];
    tensor_describe(&argument->spec, shape);
    if (!tensor_size_bytes(&argument->spec, &input->tensor_bytes) || input->tensor_bytes == 0) {
      return fail(why, "input %zu, %s, has no usable size", i, shape);
    }
    size_t file_bytes = 0;
    *stage = "read";
    if (!read_whole_file(argument->file, &input->bytes, &file_bytes, why)) return false;
    *stage = "input";
    const size_t cases = file_bytes / input->tensor_bytes;
    if (cases == 0 || file_bytes % input->tensor_bytes != 0) {
      return fail(why, "%s has %zu bytes, not a multiple of the %zu that %s takes", argument->file, file_bytes,
                  input->tensor_bytes, shape);
    }
    if (i > 0 && cases != inputs->cases) {
      return fail(why, "%s holds %zu cases, the inputs before it %zu", argument->file, cases, inputs->cases);
    }
    inputs->cases = cases;
  }
  return true;
}

bool inputs_bind(const runner_arguments *arguments, const runner_engine *engine, failure *why) {
  tensor_spec *specs = calloc(arguments->input_count + 1, sizeof *specs);
  if (specs == NULL) return fail(why, "out of memory");
  for (size_t i = 0; i < arguments->input_count; ++i) specs[i] = arguments->inputs[i].spec;
  const bool bound = engine->bind_inputs(specs, arguments->input_count, why);
  free(specs);
  return bound;
}

bool inputs_set(const input_set *inputs, size_t which_case, const runner_engine *engine, failure *why) {
  for (size_t i = 0; i < inputs->count; ++i) {
    const input_data *input = &inputs->tensors[i];
    if (!engine->set_input(i, input->bytes + which_case * input->tensor_bytes, why)) return false;
  }
  return true;
}
