#define _GNU_SOURCE
#include "outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool open_output(output_data *output, size_t index, const char *folder, const runner_engine *engine, failure *why) {
  if (!engine->describe_output(index, &output->spec, why)) return false;
  if (!tensor_size_bytes(&output->spec, &output->tensor_bytes)) return fail(why, "output %zu has no usable size", index);
  sha256_begin(&output->digest);
  output->bytes = malloc(output->tensor_bytes + 1);
  if (output->bytes == NULL) return fail(why, "no memory for output %zu", index);
  char path[4096];
  if (snprintf(path, sizeof path, "%s/output_%zu.bin", folder, index) >= (int)sizeof path) {
    return fail(why, "--output-dir is too long");
  }
  output->file = fopen(path, "wbe");
  return output->file != NULL || fail(why, "cannot write %s: %s", path, strerror(errno));
}

bool outputs_write(output_set *outputs, size_t which_case, const char *folder, const runner_engine *engine, failure *why) {
  if (which_case == 0) {
    outputs->count = engine->output_count();
    outputs->tensors = calloc(outputs->count + 1, sizeof *outputs->tensors);
    if (outputs->tensors == NULL) return fail(why, "out of memory");
    for (size_t i = 0; i < outputs->count; ++i) {
      if (!open_output(&outputs->tensors[i], i, folder, engine, why)) return false;
    }
  }
  for (size_t i = 0; i < outputs->count; ++i) {
    output_data *output = &outputs->tensors[i];
    tensor_spec now;
    if (!engine->describe_output(i, &now, why)) return false;
    if (!tensor_same(&now, &output->spec)) {
      char before[SHAPE_TEXT_BYTES], after[SHAPE_TEXT_BYTES];
      return fail(why, "output %zu is %s for case 0 and %s for case %zu", i, tensor_describe(&output->spec, before),
                  tensor_describe(&now, after), which_case);
    }
    if (!engine->read_output(i, output->bytes, output->tensor_bytes, why)) return false;
    if (fwrite(output->bytes, 1, output->tensor_bytes, output->file) != output->tensor_bytes) {
      return fail(why, "cannot write output %zu: %s", i, strerror(errno));
    }
    sha256_add(&output->digest, output->bytes, output->tensor_bytes);
  }
  return true;
}

bool outputs_close(output_set *outputs, failure *why) {
  for (size_t i = 0; i < outputs->count; ++i) {
    output_data *output = &outputs->tensors[i];
    FILE *file = output->file;
    output->file = NULL;
    sha256_end_hex(&output->digest, output->sha256);
    if (fclose(file) != 0) return fail(why, "cannot write output %zu: %s", i, strerror(errno));
  }
  return true;
}

void outputs_describe(const output_set *outputs, json_text *text) {
  json_raw(text, "[");
  for (size_t i = 0; i < outputs->count; ++i) {
    const output_data *output = &outputs->tensors[i];
    char file[48];
    snprintf(file, sizeof file, "output_%zu.bin", i);
    json_raw(text, i > 0 ? ", {\"dtype\": " : "{\"dtype\": ");
    json_string(text, element_type_name(output->spec.type));
    json_raw(text, ", \"shape\": ");
    json_integers(text, output->spec.dims, output->spec.rank);
    json_raw(text, ", \"file\": ");
    json_string(text, file);
    json_raw(text, ", \"sha256\": ");
    json_string(text, output->sha256);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}
