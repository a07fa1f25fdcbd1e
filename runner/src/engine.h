/* What the session asks of an inference engine. One model, one process: an engine keeps its state in itself.
 *
 * Every function returns false after it has written a message. The session knows which stage it was. */
#ifndef EDGEDEPLOY_ENGINE_H
#define EDGEDEPLOY_ENGINE_H

#include "failure.h"
#include "operator_profile.h"
#include "tensor_spec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  const char *runner_name;
  const char *engine_name;
  const char *engine_version;
  /* Makes the engine itself ready, with this many threads (0: its own choice). Not part of the load time. */
  bool (*prepare)(int threads, failure *why);
  /* Everything from opening the model to being ready to invoke `method` (NULL: the protocol's default); this is what
   * `load_ns` spans. Engines slow down when they watch their operators: `profiled` is true for a profile only. */
  bool (*load)(const char *model, const char *method, bool profiled, failure *why);
  /* Compares the inputs with what the model declares, and sizes what is dynamic. */
  bool (*bind_inputs)(const tensor_spec *inputs, size_t count, failure *why);
  bool (*set_input)(size_t index, const void *bytes, failure *why);
  bool (*invoke)(failure *why);
  /* Forgets what was profiled until now. The invoke that follows is the one whose operators are asked for next. */
  bool (*begin_profile)(failure *why);
  bool (*read_profile)(operator_profile *profile, failure *why);
  size_t (*output_count)(void);
  /* Valid after an invoke. */
  bool (*describe_output)(size_t index, tensor_spec *spec, failure *why);
  /* Copies output `index` in C order into `bytes`, which has room for the whole tensor. */
  bool (*read_output)(size_t index, void *bytes, size_t size_bytes, failure *why);
  /* Threads that the engine really computes with; valid after an invoke. */
  int (*threads)(void);
} runner_engine;

/* Runs the whole protocol with this engine; returns the exit code after the document has been printed. */
int session_main(int argc, char **argv, const runner_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
