/* docs/runner-protocol.md, step by step, for any engine. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "baton.h"
#include "engine.h"
#include "generation.h"
#include "json_text.h"
#include "process_facts.h"
#include "sha256.h"

#define SCHEMA "edgedeploy.runner/1"
#define EXIT_FAILED 1
#define EXIT_WRONG_ARGUMENTS 64
#define UNTIMED_SHARE 0.1 /* of a turn */

typedef struct {
  uint8_t *bytes; /* all cases, back to back */
  size_t tensor_bytes;
} input_data;

typedef struct {
  tensor_spec spec;
  FILE *file;
  uint8_t *bytes;
  size_t tensor_bytes;
} output_data;

/* One turn's timed iterations stand one after the other in `latency_ns`. */
typedef struct {
  int64_t began_ns;
  size_t iterations;
} turn_taken;

typedef struct {
  const runner_engine *engine;
  runner_arguments arguments;
  const char *stage;
  char sha256[SHA256_HEX_BYTES];
  int64_t size_bytes;
  input_data *inputs;
  size_t cases;
  output_data *outputs;
  size_t output_count;
  int64_t load_ns;
  int64_t first_inference_ns;
  int64_t *warmup_ns;
  int64_t *latency_ns;
  size_t warmup_count;
  size_t latency_count;
  turn_taken *turns;
  size_t turn_count;
  operator_profile profile;
  int64_t *profiled_ns;
  int64_t rss_before_load_bytes;
  token_list *prompts;
  token_list text;
  generated *answers;
  size_t answer_count;
  double nll;
  size_t scored;
} session;

static bool hash_model(session *run, failure *why) {
  const char *path = run->arguments.model;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail(why, "cannot open %s: %s", path, strerror(errno));
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(file);
    return fail(why, "%s is not a file; this runner takes models that are one file", path);
  }
  static uint8_t chunk[1 << 16];
  sha256_stream stream;
  sha256_begin(&stream);
  for (;;) {
    const ssize_t got = read(file, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int reason = errno;
      close(file);
      return fail(why, "cannot read %s: %s", path, strerror(reason));
    }
    if (got == 0) break;
    sha256_add(&stream, chunk, (size_t)got);
    run->size_bytes += got;
  }
  close(file);
  sha256_end_hex(&stream, run->sha256);
  return true;
}

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

static bool read_inputs(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->inputs = calloc(arguments->input_count + 1, sizeof *run->inputs);
  if (run->inputs == NULL) return fail(why, "out of memory");
  run->cases = 1;
  for (size_t i = 0; i < arguments->input_count; ++i) {
    const input_argument *argument = &arguments->inputs[i];
    input_data *input = &run->inputs[i];
    char shape[SHAPE_TEXT_BYTES];
    tensor_describe(&argument->spec, shape);
    if (!tensor_size_bytes(&argument->spec, &input->tensor_bytes) || input->tensor_bytes == 0) {
      return fail(why, "input %zu, %s, has no usable size", i, shape);
    }
    size_t file_bytes = 0;
    run->stage = "read";
    if (!read_whole_file(argument->file, &input->bytes, &file_bytes, why)) return false;
    run->stage = "input";
    const size_t cases = file_bytes / input->tensor_bytes;
    if (cases == 0 || file_bytes % input->tensor_bytes != 0) {
      return fail(why, "%s has %zu bytes, not a multiple of the %zu that %s takes", argument->file, file_bytes,
                  input->tensor_bytes, shape);
    }
    if (i > 0 && cases != run->cases) {
      return fail(why, "%s holds %zu cases, the inputs before it %zu", argument->file, cases, run->cases);
    }
    run->cases = cases;
  }
  return true;
}

/* The memory for samples is touched here, so that no page fault falls into a measurement. */
static bool allocate_samples(int64_t **samples, int64_t count, failure *why) {
  const size_t size_bytes = ((size_t)count + 1) * sizeof(int64_t);
  *samples = malloc(size_bytes);
  if (*samples == NULL) return fail(why, "no memory for %lld samples", (long long)count);
  memset(*samples, 0xFF, size_bytes);
  return true;
}

static bool set_inputs(session *run, size_t which_case, failure *why) {
  for (size_t i = 0; i < run->arguments.input_count; ++i) {
    const input_data *input = &run->inputs[i];
    if (!run->engine->set_input(i, input->bytes + which_case * input->tensor_bytes, why)) return false;
  }
  return true;
}

static bool open_output(session *run, size_t index, failure *why) {
  output_data *output = &run->outputs[index];
  if (!run->engine->describe_output(index, &output->spec, why)) return false;
  if (!tensor_size_bytes(&output->spec, &output->tensor_bytes)) return fail(why, "output %zu has no usable size", index);
  output->bytes = malloc(output->tensor_bytes + 1);
  if (output->bytes == NULL) return fail(why, "no memory for output %zu", index);
  char path[4096];
  if (snprintf(path, sizeof path, "%s/output_%zu.bin", run->arguments.output_dir, index) >= (int)sizeof path) {
    return fail(why, "--output-dir is too long");
  }
  output->file = fopen(path, "wbe");
  return output->file != NULL || fail(why, "cannot write %s: %s", path, strerror(errno));
}

static bool write_outputs(session *run, size_t which_case, failure *why) {
  if (which_case == 0) {
    run->output_count = run->engine->output_count();
    run->outputs = calloc(run->output_count + 1, sizeof *run->outputs);
    if (run->outputs == NULL) return fail(why, "out of memory");
    for (size_t i = 0; i < run->output_count; ++i) {
      if (!open_output(run, i, why)) return false;
    }
  }
  for (size_t i = 0; i < run->output_count; ++i) {
    output_data *output = &run->outputs[i];
    tensor_spec now;
    if (!run->engine->describe_output(i, &now, why)) return false;
    if (!tensor_same(&now, &output->spec)) {
      char before[SHAPE_TEXT_BYTES], after[SHAPE_TEXT_BYTES];
      return fail(why, "output %zu is %s for case 0 and %s for case %zu", i, tensor_describe(&output->spec, before),
                  tensor_describe(&now, after), which_case);
    }
    if (!run->engine->read_output(i, output->bytes, output->tensor_bytes, why)) return false;
    if (fwrite(output->bytes, 1, output->tensor_bytes, output->file) != output->tensor_bytes) {
      return fail(why, "cannot write output %zu: %s", i, strerror(errno));
    }
  }
  return true;
}

static bool close_outputs(session *run, failure *why) {
  for (size_t i = 0; i < run->output_count; ++i) {
    FILE *file = run->outputs[i].file;
    run->outputs[i].file = NULL;
    if (fclose(file) != 0) return fail(why, "cannot write output %zu: %s", i, strerror(errno));
  }
  return true;
}

/* One iteration on case 0. The inputs are put in place before every one, because an engine may plan other tensors
 * into the memory of an input it is done with. */
static bool measure_once(session *run, int64_t *began_ns, int64_t *ended_ns, failure *why) {
  run->stage = "input";
  if (!set_inputs(run, 0, why)) return false;
  run->stage = "execute";
  bool (*const invoke)(failure *) = run->engine->invoke;
  *began_ns = monotonic_now_ns();
  const bool done = invoke(why);
  *ended_ns = monotonic_now_ns();
  return done;
}

static bool warm_up(session *run, failure *why) {
  int64_t began_ns, ended_ns;
  for (int64_t i = 0; i < run->arguments.warmup && run->arguments.iterations > 0; ++i) {
    if (!measure_once(run, &began_ns, &ended_ns, why)) return false;
    run->warmup_ns[run->warmup_count++] = ended_ns - began_ns;
  }
  return true;
}

static bool measure(session *run, failure *why) {
  int64_t began_ns, ended_ns;
  if (!warm_up(run, why)) return false;
  const int64_t loop_began_ns = monotonic_now_ns();
  for (int64_t i = 0; i < run->arguments.iterations; ++i) {
    if (!measure_once(run, &began_ns, &ended_ns, why)) return false;
    run->latency_ns[run->latency_count++] = ended_ns - began_ns;
    if ((double)(ended_ns - loop_began_ns) >= run->arguments.max_seconds * 1e9) break;
  }
  return true;
}

/* Iterations until the turn's time is over. Those at its beginning do not count: the other side's data is in the caches, and its
 * threads may still be looking for work. */
static bool take_turn(session *run, failure *why) {
  const double turn_ns = run->arguments.turn_seconds * 1e9;
  int64_t began_ns, ended_ns;
  const int64_t turn_began_ns = monotonic_now_ns();
  do {
    if (!measure_once(run, &began_ns, &ended_ns, why)) return false;
  } while ((double)(ended_ns - turn_began_ns) < turn_ns * UNTIMED_SHARE);
  turn_taken *turn = &run->turns[run->turn_count++];
  *turn = (turn_taken){.began_ns = ended_ns};
  do {
    if (!measure_once(run, &began_ns, &ended_ns, why)) return false;
    run->latency_ns[run->latency_count++] = ended_ns - began_ns;
    ++turn->iterations;
  } while ((int64_t)turn->iterations < run->arguments.iterations && (double)(ended_ns - turn->began_ns) < turn_ns);
  return true;
}

static bool answer_once(session *run, failure *why) {
  run->stage = "execute";
  run->turns[run->turn_count++] = (turn_taken){.began_ns = monotonic_now_ns(), .iterations = 1};
  return generate(run->engine, &run->prompts[0], (size_t)run->arguments.prefill, (size_t)run->arguments.generate,
                  &run->answers[run->answer_count++], why);
}

/* The side of the first turn gets ready first. Each passes the baton when it is, and the first turn begins when it is back. */
static bool take_turns(session *run, bool (*take_one)(session *, failure *), failure *why) {
  const char *turns = run->arguments.turns;
  const char side = run->arguments.side;
  const size_t count = strlen(turns);
  run->stage = "turn";
  if (!baton_pass(why)) return false;
  for (size_t i = 0; i < count; ++i) {
    if (turns[i] != side) continue;
    if ((i == 0 || turns[i - 1] != side) && !baton_wait(why)) return false;
    if (!take_one(run, why)) return false;
    run->stage = "turn";
    if (i + 1 < count && turns[i + 1] != side && !baton_pass(why)) return false;
  }
  /* Not gone before the other one is done: the end of a process costs time on its processor, too. */
  failure ended;
  if (turns[count - 1] != side) baton_wait(&ended);
  return true;
}

/* In place of the measurement: the same iterations, watched. Their times are reported apart, because watching costs. */
static bool profile(session *run, failure *why) {
  int64_t began_ns, ended_ns;
  for (int64_t i = 0; i < run->arguments.warmup; ++i) {
    if (!measure_once(run, &began_ns, &ended_ns, why)) return false;
  }
  const int64_t loop_began_ns = monotonic_now_ns();
  while (run->profile.invocation < run->profile.invocations) {
    if (!run->engine->begin_profile(why) || !measure_once(run, &began_ns, &ended_ns, why) ||
        !run->engine->read_profile(&run->profile, why)) {
      return false;
    }
    run->profiled_ns[run->profile.invocation++] = ended_ns - began_ns;
    if ((double)(ended_ns - loop_began_ns) >= run->arguments.max_seconds * 1e9) break;
  }
  return true;
}

static bool run_cases(session *run, failure *why) {
  for (size_t which_case = 0; which_case < run->cases; ++which_case) {
    run->stage = "input";
    if (!set_inputs(run, which_case, why)) return false;
    run->stage = "execute";
    const int64_t began_ns = monotonic_now_ns();
    const bool done = run->engine->invoke(why);
    const int64_t ended_ns = monotonic_now_ns();
    if (!done) return false;
    if (which_case == 0) run->first_inference_ns = ended_ns - began_ns;
    run->stage = "output";
    if (!write_outputs(run, which_case, why)) return false;
  }
  return close_outputs(run, why);
}

static bool is_language(const session *run) {
  return run->arguments.prompt_count > 0 || run->arguments.score != NULL;
}

static bool read_language(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->prompts = calloc(arguments->prompt_count + 1, sizeof *run->prompts);
  run->answers = calloc(arguments->prompt_count + arguments->own_turns + 1, sizeof *run->answers);
  if (run->prompts == NULL || run->answers == NULL) return fail(why, "out of memory");
  run->stage = "read";
  for (size_t i = 0; i < arguments->prompt_count; ++i) {
    if (!read_tokens(arguments->prompts[i], &run->prompts[i], why)) return false;
  }
  return arguments->score == NULL || read_tokens(arguments->score, &run->text, why);
}

static bool run_language(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "execute";
  for (; run->answer_count < arguments->prompt_count; ++run->answer_count) {
    const bool done = generate(run->engine, &run->prompts[run->answer_count], (size_t)arguments->prefill,
                               (size_t)arguments->generate, &run->answers[run->answer_count], why);
    if (!done) return false;
  }
  if (arguments->turns != NULL) return take_turns(run, answer_once, why);
  return arguments->score == NULL ||
         score(run->engine, &run->text, (size_t)arguments->window, &run->nll, &run->scored, why);
}

static bool run_session(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "usage";
  if (arguments->cpu_count > 0 && !pin_to_cpus(arguments->cpus, arguments->cpu_count, why)) return false;
  run->stage = "turn";
  const bool second = arguments->turns != NULL && arguments->turns[0] != arguments->side;
  if (second && !baton_wait(why)) return false;
  run->stage = "read";
  if (!hash_model(run, why)) return false;
  if (!allocate_samples(&run->warmup_ns, arguments->warmup, why)) return false;
  const int64_t turns = (int64_t)arguments->own_turns;
  if (!allocate_samples(&run->latency_ns, turns > 0 ? turns * arguments->iterations : arguments->iterations, why)) return false;
  run->turns = calloc(arguments->own_turns + 1, sizeof *run->turns);
  if (run->turns == NULL) return fail(why, "out of memory");
  if (!allocate_samples(&run->profiled_ns, arguments->profile, why)) return false;
  run->profile.invocations = (size_t)arguments->profile;
  run->stage = "input";
  if (is_language(run) ? !read_language(run, why) : !read_inputs(run, why)) return false;
  run->stage = "load";
  if (!run->engine->prepare(arguments->threads, why)) return false;
  run->rss_before_load_bytes = resident_bytes();
  const int64_t began_ns = monotonic_now_ns();
  if (!run->engine->load(arguments->model, arguments->method, arguments->profile > 0, why)) return false;
  run->load_ns = monotonic_now_ns() - began_ns;
  if (is_language(run)) return run_language(run, why);
  run->stage = "input";
  tensor_spec *specs = calloc(arguments->input_count + 1, sizeof *specs);
  if (specs == NULL) return fail(why, "out of memory");
  for (size_t i = 0; i < arguments->input_count; ++i) specs[i] = arguments->inputs[i].spec;
  const bool bound = run->engine->bind_inputs(specs, arguments->input_count, why);
  free(specs);
  if (!bound || !run_cases(run, why)) return false;
  if (arguments->turns != NULL) return warm_up(run, why) && take_turns(run, take_turn, why);
  return arguments->profile > 0 ? profile(run, why) : measure(run, why);
}

static void describe_runner(json_text *text, const runner_engine *engine) {
  json_raw(text, "{\"schema\": \"" SCHEMA "\", \"runner\": {\"name\": ");
  json_string(text, engine->runner_name);
  json_raw(text, ", \"version\": \"" EDGEDEPLOY_RUNNER_VERSION "\", \"engine\": ");
  json_string(text, engine->engine_name);
  json_raw(text, ", \"engine_version\": ");
  json_string(text, engine->engine_version);
  json_raw(text, "}");
}

static void describe_failure(json_text *text, const char *stage, const failure *why) {
  json_raw(text, "{\"schema\": \"" SCHEMA "\", \"error\": {\"stage\": ");
  json_string(text, stage);
  json_raw(text, ", \"message\": ");
  json_string(text, why->message);
  json_raw(text, "}}\n");
}

static void json_member(json_text *text, const char *name, int64_t value) {
  json_raw(text, ", \"");
  json_raw(text, name);
  json_raw(text, "\": ");
  json_integer(text, value);
}

static void describe_profile(json_text *text, const session *run) {
  json_raw(text, ", \"profiled_ns\": ");
  json_integers(text, run->profiled_ns, run->profile.invocation);
  json_raw(text, ", \"operators\": [");
  for (size_t i = 0; i < run->profile.count; ++i) {
    const profiled_operator *row = &run->profile.operators[i];
    json_raw(text, i > 0 ? ", {\"name\": " : "{\"name\": ");
    json_string(text, row->name);
    json_raw(text, ", \"delegate\": ");
    if (row->delegate == NULL) {
      json_raw(text, "null");
    } else {
      json_string(text, row->delegate);
    }
    json_member(text, "sequence", row->place.sequence);
    json_member(text, "call", row->place.call);
    if (row->place.step != WHOLE_CALL) json_member(text, "step", row->place.step);
    json_raw(text, ", \"ns\": ");
    json_integers(text, row->ns, run->profile.invocation);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}

static void describe_language(json_text *text, const session *run) {
  json_raw(text, ", \"generation\": [");
  for (size_t i = 0; i < run->answer_count; ++i) {
    const generated *answer = &run->answers[i];
    json_raw(text, i > 0 ? ", {\"prompt_tokens\": " : "{\"prompt_tokens\": ");
    json_integer(text, (int64_t)answer->prompt_count);
    json_member(text, "prefill_ns", answer->prefill_ns);
    json_member(text, "ttft_ns", answer->ttft_ns);
    json_raw(text, ", \"decode_ns\": ");
    json_integers(text, answer->decode_ns, answer->count - 1);
    json_raw(text, ", \"tokens\": ");
    json_integers(text, answer->tokens, answer->count);
    json_raw(text, "}");
  }
  json_raw(text, "]");
  if (run->arguments.score == NULL) return;
  json_raw(text, ", \"score\": {\"tokens\": ");
  json_integer(text, (int64_t)run->scored);
  json_raw(text, ", \"nll\": ");
  json_number(text, run->nll);
  json_raw(text, "}");
}

static void describe_turns(json_text *text, const session *run) {
  json_raw(text, ", \"turns\": [");
  for (size_t i = 0; i < run->turn_count; ++i) {
    json_raw(text, i > 0 ? ", {\"began_ns\": " : "{\"began_ns\": ");
    json_integer(text, run->turns[i].began_ns);
    json_member(text, "iterations", (int64_t)run->turns[i].iterations);
    json_raw(text, "}");
  }
  json_raw(text, "]");
}

static void describe_run(json_text *text, const session *run) {
  int64_t cpus[MAX_CPUS];
  const size_t cpu_count = cpus_in_force(cpus, MAX_CPUS);
  describe_runner(text, run->engine);
  json_raw(text, ", \"model\": {\"sha256\": ");
  json_string(text, run->sha256);
  json_member(text, "size_bytes", run->size_bytes);
  json_raw(text, "}");
  json_member(text, "threads", run->engine->threads());
  json_raw(text, ", \"cpus\": ");
  json_integers(text, cpus, cpu_count);
  json_raw(text, ", \"clock\": {\"name\": \"CLOCK_MONOTONIC\"");
  json_member(text, "resolution_ns", monotonic_resolution_ns());
  json_raw(text, "}");
  json_member(text, "load_ns", run->load_ns);
  json_member(text, "rss_before_load_bytes", run->rss_before_load_bytes);
  json_member(text, "peak_rss_bytes", peak_resident_bytes());
  if (run->arguments.turns != NULL) describe_turns(text, run);
  if (is_language(run)) {
    describe_language(text, run);
    json_raw(text, "}\n");
    return;
  }
  json_member(text, "first_inference_ns", run->first_inference_ns);
  json_raw(text, ", \"warmup_ns\": ");
  json_integers(text, run->warmup_ns, run->warmup_count);
  json_raw(text, ", \"latency_ns\": ");
  json_integers(text, run->latency_ns, run->latency_count);
  if (run->arguments.profile > 0) describe_profile(text, run);
  json_member(text, "cases", (int64_t)run->cases);
  json_raw(text, ", \"outputs\": [");
  for (size_t i = 0; i < run->output_count; ++i) {
    const output_data *output = &run->outputs[i];
    char file[48];
    snprintf(file, sizeof file, "output_%zu.bin", i);
    json_raw(text, i > 0 ? ", {\"dtype\": " : "{\"dtype\": ");
    json_string(text, element_type_name(output->spec.type));
    json_raw(text, ", \"shape\": ");
    json_integers(text, output->spec.dims, output->spec.rank);
    json_raw(text, ", \"file\": ");
    json_string(text, file);
    json_raw(text, "}");
  }
  json_raw(text, "]}\n");
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
    describe_runner(&text, engine);
    json_raw(&text, "}\n");
  } else if (done && (done = run_session(&run, &why))) {
    describe_run(&text, &run);
  }
  int exit_code = EXIT_SUCCESS;
  if (!done) {
    exit_code = strcmp(run.stage, "usage") == 0 ? EXIT_WRONG_ARGUMENTS : EXIT_FAILED;
    describe_failure(&text, run.stage, &why);
  }
  if (!write_all(document, text.chars, text.size)) exit_code = EXIT_FAILED;
  fflush(NULL);
  /* Not return: the engines' own destructors could still crash, and the result is already out. */
  _exit(exit_code);
}
