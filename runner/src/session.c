/* docs/runner-protocol.md, step by step, for any engine. */
#define _GNU_SOURCE
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bursts.h"
#include "document.h"
#include "language.h"
#include "process_facts.h"
#include "timed_loop.h"
#include "turns.h"
#include "windows.h"

/* Until a process is steady, iterations of a microsecond come by the hundred thousand: no more than these are told, unless more
 * were asked for by number. */
#define WARMUPS_TOLD 10000
#define EXIT_FAILED 1
#define EXIT_WRONG_ARGUMENTS 64

/* All memory that samples will need, before anything is measured. */
static bool reserve(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  /* In windows they are counted by time, and there is room of their own for them. */
  const size_t iterations = arguments->window_seconds > 0 ? 0 : (size_t)arguments->iterations;
  const size_t repeated = arguments->turns != NULL ? arguments->own_turns : arguments->bursts > 0 ? (size_t)arguments->bursts : 1;
  const size_t warmups = (size_t)arguments->warmup;
  const size_t told = arguments->warmup_seconds > 0 && warmups < WARMUPS_TOLD ? WARMUPS_TOLD : warmups;
  run->profile.invocations = (size_t)arguments->profile;
  return turns_reserve(run, why) && windows_reserve(run, why) && samples_reserve(&run->warmup_ns, told, why) &&
         samples_reserve(&run->latency_ns, repeated * iterations, why) &&
         samples_reserve(&run->profiled_ns, run->profile.invocations, why);
}

static bool load(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "load";
  if (!run->engine->prepare(arguments->threads, why)) return false;
  run->cached_bytes_before_load = arguments->cold ? model_file_evict(arguments->model) : -1;
  run->rss_before_load_bytes = resident_bytes();
  const int64_t began_ns = monotonic_now_ns();
  if (!run->engine->load(arguments->model, arguments->method, arguments->profile > 0, why)) return false;
  run->load_ns = monotonic_now_ns() - began_ns;
  return true;
}

static bool run_cases(session *run, failure *why) {
  for (size_t which_case = 0; which_case < run->inputs.cases; ++which_case) {
    run->stage = "input";
    if (!inputs_set(&run->inputs, which_case, run->engine, why)) return false;
    run->stage = "execute";
    const int64_t began_ns = monotonic_now_ns();
    const bool done = run->engine->invoke(why);
    const int64_t ended_ns = monotonic_now_ns();
    if (!done) return false;
    if (which_case == 0) run->first_inference_ns = ended_ns - began_ns;
    run->stage = "output";
    if (!outputs_write(&run->outputs, which_case, run->arguments.output_dir, run->engine, why)) return false;
  }
  return outputs_close(&run->outputs, why);
}

static bool take_times(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  if (!turns_await_all(run, why)) return false;
  if (arguments->turns != NULL) return turns_take(run, why);
  if (arguments->bursts > 0) return bursts_take(run, why);
  return arguments->window_seconds > 0 ? windows_take(run, why) : measure(run, why);
}

static bool run_tensors(session *run, failure *why) {
  run->stage = "input";
  if (!inputs_bind(&run->arguments, run->engine, why) || !run_cases(run, why)) return false;
  if (run->arguments.profile > 0) return profile(run, why);
  return warm_up(run, why) && take_times(run, why);
}

static bool run_session(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "usage";
  if (arguments->cpu_count > 0 && !pin_to_cpus(arguments->cpus, arguments->cpu_count, why)) return false;
  if (!turns_await_preparation(run, why)) return false;
  run->stage = "read";
  if (!model_file_hash(&run->model, arguments->model, why) || !reserve(run, why)) return false;
  run->stage = "input";
  const bool language = is_language(run);
  if (language ? !language_read(run, why) : !inputs_read(&run->inputs, arguments, &run->stage, why)) return false;
  if (!load(run, why)) return false;
  const bool done = language ? language_run(run, why) : run_tensors(run, why);
  run->pss_bytes = proportional_bytes();
  return done;
}

static bool write_all(int descriptor, const char *chars, size_t size) {
  while (size > 0) {
    const ssize_t wrote = write(descriptor, chars, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    chars += wrote;
    size -= (size_t)wrote;
  }
  return true;
}

int session_main(int argc, char **argv, const runner_engine *engine) {
  /* Engines log where they please: from here on descriptor 1 is stderr, and only the document knows the real one. */
  fflush(stdout);
  const int document = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (document < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return EXIT_FAILED;

  session run = {.engine = engine, .stage = "usage"};
  failure why = {.message = "no reason given"};
  json_text text = {0};
  bool done = arguments_parse(argc, argv, &run.arguments, &why);
  if (done && run.arguments.version) {
    document_of_version(&text, engine);
  } else if (done && (done = run_session(&run, &why))) {
    document_of_run(&text, &run);
  }
  int exit_code = EXIT_SUCCESS;
  if (!done) {
    exit_code = strcmp(run.stage, "usage") == 0 ? EXIT_WRONG_ARGUMENTS : EXIT_FAILED;
    document_of_failure(&text, run.stage, &why);
  }
  if (!write_all(document, text.chars, text.size)) exit_code = EXIT_FAILED;
  fflush(NULL);
  /* Not return: the engines' own destructors could still crash, and the result is already out. */
  _exit(exit_code);
}
