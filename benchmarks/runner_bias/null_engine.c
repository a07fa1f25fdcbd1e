/* An engine that does nothing, so that a run of it is all session. */
#include <string.h>

#include "engine.h"

static bool prepare(int threads, failure *why) {
  (void)threads;
  (void)why;
  return true;
}

static bool load(const char *model, const char *method, bool profiled, failure *why) {
  (void)model;
  (void)method;
  (void)profiled;
  (void)why;
  return true;
}

static bool bind_inputs(const tensor_spec *inputs, size_t count, failure *why) {
  (void)inputs;
  (void)count;
  (void)why;
  return true;
}

static bool set_input(size_t index, const void *bytes, failure *why) {
  (void)index;
  (void)bytes;
  (void)why;
  return true;
}

static bool invoke(failure *why) {
  (void)why;
  return true;
}

static size_t output_count(void) { return 0; }

static int threads(void) { return 1; }

static const runner_engine engine = {
    .runner_name = "null",
    .engine_name = "null",
    .engine_version = "0",
    .prepare = prepare,
    .load = load,
    .bind_inputs = bind_inputs,
    .set_input = set_input,
    .invoke = invoke,
    .output_count = output_count,
    .threads = threads,
};

int main(int argc, char **argv) { return session_main(argc, argv, &engine); }
