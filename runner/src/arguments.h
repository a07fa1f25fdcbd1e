/* The command line of a runner, as docs/runner-protocol.md defines it. */
#ifndef EDGEDEPLOY_ARGUMENTS_H
#define EDGEDEPLOY_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "tensor_spec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  tensor_spec spec;
  const char *file;
} input_argument;

/* More iterations than this are taken for a typing error: the samples alone would need 80 MB. */
#define MAX_ITERATIONS 10000000
#define MAX_THREADS 1024
/* Each operator brings one time per profiled invocation into the document. */
#define MAX_PROFILED 100
#define MAX_CPUS 1024
#define MAX_TURNS 10000
#define MAX_BURSTS 10000
#define MAX_IDLE_SECONDS 3600
#define MAX_WINDOWS 10000

typedef struct {
  bool version;
  const char *model;
  const char *output_dir;
  const char *method; /* NULL: the engine's own choice */
  input_argument *inputs;
  size_t input_count;
  int64_t warmup;
  double warmup_seconds; /* most that is waited for a steady process; 0: that is not asked */
  int64_t iterations;
  int64_t profile; /* profiled invocations; 0: a measurement */
  double min_seconds;
  double max_seconds;
  bool cold; /* the model is taken out of the page cache before it is loaded */
  bool vary; /* timed iterations cycle through all cases */
  const char *turns; /* of two processes, as 'ABBA'; NULL: this one is alone */
  char side;         /* with turns: which of them are its own */
  size_t own_turns;
  double turn_seconds;
  int64_t bursts; /* of `iterations` each; 0: they follow on one another */
  double idle_seconds;
  double window_seconds; /* timed for max_seconds, and told by windows of so long; 0: by iterations */
  bool barrier;          /* when all is ready, a byte on descriptor 3; on goes it with one on stdin */
  int threads;
  int *cpus;
  size_t cpu_count;
  /* Language models: with a prompt or a text to score, the model is run token by token and takes no --input. */
  const char **prompts;
  size_t prompt_count;
  int64_t generate;
  int64_t prefill; /* 0: a whole prompt in one call */
  const char *score;
  int64_t window;
} runner_arguments;

bool arguments_parse(int argc, char **argv, runner_arguments *arguments, failure *why);
void arguments_release(runner_arguments *arguments);

#ifdef __cplusplus
}
#endif
#endif
