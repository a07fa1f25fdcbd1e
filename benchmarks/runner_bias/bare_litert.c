/* bare_litert MODEL INPUT WARMUP ITERATIONS: a .tflite with one float32 input, one thread, nothing but the loop. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "bare_loop.h"
#include "litert_abi.h"

static struct {
#define DECLARE(member, symbol, result, parameters) result(*member) parameters;
  LITERT_FUNCTIONS(DECLARE)
#undef DECLARE
} api;

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  check(file != NULL, path);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = aligned_alloc(64, (*size + 63) / 64 * 64);
  check(bytes != NULL && fread(bytes, 1, *size, file) == *size, path);
  fclose(file);
  return bytes;
}

int main(int argc, char **argv) {
  check(argc == 5, "bare_litert MODEL INPUT WARMUP ITERATIONS");
  void *library = dlopen("libLiteRt.so", RTLD_NOW | RTLD_LOCAL);
  check(library != NULL, "libLiteRt.so");
#define FIND(member, symbol, result, parameters) api.member = (result(*) parameters)dlsym(library, symbol);
  LITERT_FUNCTIONS(FIND)
#undef FIND
  litert_environment *environment;
  litert_model *model;
  litert_options *options;
  litert_opaque_options *xnnpack;
  litert_compiled_model *compiled;
  litert_signature *signature;
  litert_tensor *tensor;
  litert_requirements *requirements;
  litert_tensor_type type;
  litert_layout layout;
  litert_buffer *input, *output;
  size_t model_bytes, input_bytes;
  void *memory;
  void *content = read_file(argv[1], &model_bytes), *values = read_file(argv[2], &input_bytes);
  check(api.create_environment(0, NULL, &environment) == 0, "environment");
  check(api.create_model(environment, content, model_bytes, &model) == 0, "model");
  check(api.create_options(&options) == 0 && api.set_accelerators(options, LITERT_ACCELERATOR_CPU) == 0, "options");
  check(api.create_opaque_options("xnnpack", strdup("num_threads = 1\n"), free, &xnnpack) == 0, "threads");
  check(api.add_opaque_options(options, xnnpack) == 0, "threads");
  check(api.create_compiled_model(environment, model, options, &compiled) == 0, "compilation");
  check(api.signature(model, 0, &signature) == 0, "signature");
  check(api.input_tensor(signature, 0, &tensor) == 0 && api.tensor_type(tensor, &type) == 0, "input");
  check(api.input_requirements(compiled, 0, 0, &requirements) == 0, "input");
  check(api.create_buffer(environment, &type, requirements, &input) == 0, "input");
  check(api.lock_buffer(input, &memory, LITERT_LOCK_WRITE) == 0, "input");
  memcpy(memory, values, input_bytes);
  check(api.unlock_buffer(input) == 0, "input");
  check(api.output_layouts(compiled, 0, 1, &layout, true) == 0, "output");
  check(api.output_tensor(signature, 0, &tensor) == 0 && api.tensor_type(tensor, &type) == 0, "output");
  check(api.output_requirements(compiled, 0, 0, &requirements) == 0, "output");
  check(api.create_buffer(environment, &type, requirements, &output) == 0, "output");

  const size_t warmup = strtoul(argv[3], NULL, 10), iterations = strtoul(argv[4], NULL, 10);
  int64_t *ns = malloc(iterations * sizeof *ns);
  check(ns != NULL, "memory");
  memset(ns, 0xFF, iterations * sizeof *ns);
  for (size_t i = 0; i < warmup; ++i) check(api.run(compiled, 0, 1, &input, 1, &output) == 0, "run");
  for (size_t i = 0; i < iterations; ++i) {
    const int64_t began_ns = now_ns();
    const int status = api.run(compiled, 0, 1, &input, 1, &output);
    ns[i] = now_ns() - began_ns;
    check(status == 0, "run");
  }
  print_samples(ns, iterations);
  fflush(stdout);
  _Exit(0);
}
