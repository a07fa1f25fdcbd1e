/* One run of the protocol, as far as it has come: what was asked for, and what was found. */
#ifndef EDGEDEPLOY_SESSION_H
#define EDGEDEPLOY_SESSION_H

#include "arguments.h"
#include "engine.h"
#include "generation.h"
#include "inputs.h"
#include "model_file.h"
#include "outputs.h"
#include "process_facts.h"
#include "samples.h"
#include "steady.h"

/* One turn's, or one burst's, timed iterations stand one after the other in `latency_ns`. */
typedef struct {
  int64_t began_ns;
  size_t iterations;
} turn_taken;

typedef struct {
  int64_t began_ns;
  size_t iterations;
  size_t kept; /* every `stride`-th of them */
  size_t stride;
} window_taken;

typedef struct {
  const runner_engine *engine;
  runner_arguments arguments;
  const char *stage; /* where it is; of a failure, where it was */
  model_file model;
  input_set inputs;
  output_set outputs;
  int64_t cached_bytes_before_load; /* of the model, with --cold; -1: unknown */
  int64_t rss_before_load_bytes;
  int64_t load_ns;
  int64_t first_inference_ns;
  samples warmup_ns; /* the first of them: as many as there is room for */
  size_t warmup_iterations;
  steady_watch steady;
  samples latency_ns;
  process_usage timed_usage; /* while iterations were timed, or prompts answered */
  int64_t pss_bytes;         /* after that; -1: unknown */
  turn_taken *turns;
  size_t turn_count;
  window_taken *windows;
  size_t window_count;
  int64_t timed_ns;     /* with windows: from the first iteration to the end of the last */
  int64_t suspended_ns; /* how long the system has slept before; -1: unknown */
  operator_profile profile;
  samples profiled_ns;
  token_list *prompts;
  token_list text;
  generated *answers;
  size_t answer_count;
  double nll;
  size_t scored;
} session;

#endif
