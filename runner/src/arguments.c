#include "arguments.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A decimal integer that ends exactly where the text does: no sign, no blanks, no rest. */
static bool parse_integer(const char *text, size_t length, int64_t maximum, int64_t *value) {
  if (length == 0) return false;
  int64_t result = 0;
  for (size_t i = 0; i < length; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    if (__builtin_mul_overflow(result, (int64_t)10, &result)) return false;
    if (__builtin_add_overflow(result, (int64_t)(text[i] - '0'), &result)) return false;
  }
  *value = result;
  return result <= maximum;
}

static bool parse_option_integer(const char *option, const char *text, int64_t maximum, int64_t *value,
                                 failure *why) {
  if (parse_integer(text, strlen(text), maximum, value)) return true;
  return fail(why, "%s wants an integer from 0 to %lld, got '%s'", option, (long long)maximum, text);
}

static bool parse_seconds(const char *option, const char *text, double *value, failure *why) {
  char *end = NULL;
  errno = 0;
  *value = strtod(text, &end);
  if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || !isfinite(*value) || *value <= 0) {
    return fail(why, "%s wants a number of seconds above 0, got '%s'", option, text);
  }
  return true;
}

/* 0 is a number of them, too. */
static bool parse_seconds_or_none(const char *option, const char *text, double *value, failure *why) {
  *value = 0;
  return strcmp(text, "0") == 0 || parse_seconds(option, text, value, why);
}

static bool parse_switch(const char *option, const char *text, bool *value, failure *why) {
  *value = strcmp(text, "1") == 0;
  return *value || strcmp(text, "0") == 0 || fail(why, "%s wants 0 or 1, got '%s'", option, text);
}

static bool parse_input(const char *text, input_argument *input, failure *why) {
  const char *dims = strchr(text, ':');
  const char *file = dims == NULL ? NULL : strchr(dims + 1, ':');
  if (file == NULL || file[1] == '\0') return fail(why, "--input wants DTYPE:DIMS:FILE, got '%s'", text);
  input->spec.type = element_type_from_name(text, (size_t)(dims - text));
  if (input->spec.type == ELEMENT_UNKNOWN) {
    return fail(why, "--input has an unknown dtype '%.*s'", (int)(dims - text), text);
  }
  input->spec.rank = 0;
  const char *at = dims + 1;
  while (at < file) {
    const char *comma = memchr(at, ',', (size_t)(file - at));
    const char *end = comma == NULL ? file : comma;
    if (input->spec.rank == TENSOR_MAX_RANK) {
      return fail(why, "--input '%s' has more than %d dimensions", text, TENSOR_MAX_RANK);
    }
    if (!parse_integer(at, (size_t)(end - at), INT32_MAX, &input->spec.dims[input->spec.rank++]) ||
        end + 1 == file) {
      return fail(why, "--input '%s' has DIMS that are not comma-separated integers", text);
    }
    at = end + 1;
  }
  input->file = file + 1;
  return true;
}

static bool parse_cpus(const char *text, runner_arguments *arguments, failure *why) {
  free(arguments->cpus);
  arguments->cpus = calloc(strlen(text) + 1, sizeof(int));
  arguments->cpu_count = 0;
  if (arguments->cpus == NULL) return fail(why, "out of memory");
  const char *at = text;
  for (;;) {
    const size_t length = strcspn(at, ",");
    int64_t cpu;
    if (!parse_integer(at, length, MAX_CPUS - 1, &cpu)) {
      return fail(why, "--cpus wants processor numbers like 4,5, got '%s'", text);
    }
    arguments->cpus[arguments->cpu_count++] = (int)cpu;
    if (at[length] == '\0') return true;
    at += length + 1;
  }
}

static bool parse_option(const char *option, const char *value, runner_arguments *arguments, failure *why) {
  if (strcmp(option, "--model") == 0) {
    arguments->model = value;
    return true;
  }
  if (strcmp(option, "--output-dir") == 0) {
    arguments->output_dir = value;
    return true;
  }
  if (strcmp(option, "--method") == 0) {
    arguments->method = value;
    return value[0] != '\0' || fail(why, "--method wants a name");
  }
  if (strcmp(option, "--prompt") == 0) {
    arguments->prompts[arguments->prompt_count++] = value;
    return true;
  }
  if (strcmp(option, "--score") == 0) {
    arguments->score = value;
    return true;
  }
  if (strcmp(option, "--generate") == 0) {
    return parse_option_integer(option, value, MAX_ITERATIONS, &arguments->generate, why);
  }
  if (strcmp(option, "--prefill") == 0) {
    return parse_option_integer(option, value, MAX_ITERATIONS, &arguments->prefill, why);
  }
  if (strcmp(option, "--window") == 0) {
    return parse_option_integer(option, value, MAX_ITERATIONS, &arguments->window, why);
  }
  if (strcmp(option, "--input") == 0) return parse_input(value, &arguments->inputs[arguments->input_count++], why);
  if (strcmp(option, "--warmup") == 0) {
    return parse_option_integer(option, value, MAX_ITERATIONS, &arguments->warmup, why);
  }
  if (strcmp(option, "--iterations") == 0) {
    return parse_option_integer(option, value, MAX_ITERATIONS, &arguments->iterations, why);
  }
  if (strcmp(option, "--profile") == 0) {
    return parse_option_integer(option, value, MAX_PROFILED, &arguments->profile, why);
  }
  if (strcmp(option, "--max-seconds") == 0) return parse_seconds(option, value, &arguments->max_seconds, why);
  if (strcmp(option, "--min-seconds") == 0) return parse_seconds_or_none(option, value, &arguments->min_seconds, why);
  if (strcmp(option, "--warmup-seconds") == 0) return parse_seconds_or_none(option, value, &arguments->warmup_seconds, why);
  if (strcmp(option, "--cold") == 0) return parse_switch(option, value, &arguments->cold, why);
  if (strcmp(option, "--vary") == 0) return parse_switch(option, value, &arguments->vary, why);
  if (strcmp(option, "--turn-seconds") == 0) return parse_seconds(option, value, &arguments->turn_seconds, why);
  if (strcmp(option, "--bursts") == 0) return parse_option_integer(option, value, MAX_BURSTS, &arguments->bursts, why);
  if (strcmp(option, "--idle-seconds") == 0) return parse_seconds(option, value, &arguments->idle_seconds, why);
  if (strcmp(option, "--window-seconds") == 0) return parse_seconds(option, value, &arguments->window_seconds, why);
  if (strcmp(option, "--barrier") == 0) return parse_switch(option, value, &arguments->barrier, why);
  if (strcmp(option, "--turns") == 0) {
    arguments->turns = value;
    const size_t count = strlen(value);
    return (count > 0 && count <= MAX_TURNS && strspn(value, "AB") == count) ||
           fail(why, "--turns wants up to %d letters A and B, got '%s'", MAX_TURNS, value);
  }
  if (strcmp(option, "--side") == 0) {
    arguments->side = value[0];
    return strcmp(value, "A") == 0 || strcmp(value, "B") == 0 || fail(why, "--side wants A or B, got '%s'", value);
  }
  if (strcmp(option, "--cpus") == 0) return parse_cpus(value, arguments, why);
  if (strcmp(option, "--threads") == 0) {
    int64_t threads = 0;
    const bool parsed = parse_option_integer(option, value, MAX_THREADS, &threads, why);
    arguments->threads = (int)threads;
    return parsed;
  }
  return fail(why, "unknown argument '%s'", option);
}

static bool check_language(const runner_arguments *arguments, failure *why) {
  const bool language = arguments->prompt_count > 0 || arguments->score != NULL;
  if (language && arguments->input_count > 0) return fail(why, "--prompt and --score take the place of --input");
  if ((arguments->prompt_count > 0) != (arguments->generate > 0)) {
    return fail(why, "--prompt and --generate, which is at least 1, need each other");
  }
  if (arguments->score == NULL ? arguments->window != 0 : arguments->window < 2) {
    return fail(why, "--score and --window, which is at least 2, need each other");
  }
  return true;
}

static bool check_turns(runner_arguments *arguments, failure *why) {
  if ((arguments->turns != NULL) != (arguments->side != '\0')) return fail(why, "--turns and --side need each other");
  if (arguments->turns == NULL) return true;
  for (const char *turn = arguments->turns; *turn != '\0'; ++turn) arguments->own_turns += *turn == arguments->side;
  if (arguments->own_turns == 0) return fail(why, "--turns has no turn of side %c", arguments->side);
  if (arguments->profile > 0) return fail(why, "--profile takes no turns");
  if (arguments->prompt_count > 1 || arguments->score != NULL) return fail(why, "--turns takes one --prompt, and no --score");
  if (arguments->iterations == 0) return fail(why, "--turns wants at least one of --iterations");
  return arguments->iterations <= MAX_ITERATIONS / (int64_t)arguments->own_turns ||
         fail(why, "--turns times --iterations is more than %d", MAX_ITERATIONS);
}

/* How the timed iterations follow on one another: there is one way at a time. */
static bool check_ways(const runner_arguments *arguments, failure *why) {
  const bool bursts = arguments->bursts > 0, windows = arguments->window_seconds > 0;
  if (bursts != (arguments->idle_seconds > 0)) return fail(why, "--bursts, at least 1, and --idle-seconds need each other");
  if (arguments->idle_seconds > MAX_IDLE_SECONDS) return fail(why, "--idle-seconds is more than %d", MAX_IDLE_SECONDS);
  const int ways = (arguments->turns != NULL) + bursts + windows + (arguments->profile > 0);
  if (ways > 1) return fail(why, "--turns, --bursts, --window-seconds and --profile do not go together");
  if (arguments->barrier && (arguments->turns != NULL || arguments->profile > 0)) {
    return fail(why, "--barrier takes neither --turns nor --profile");
  }
  if (!bursts && !windows && !arguments->barrier) return true;
  if (arguments->prompt_count > 0 || arguments->score != NULL) {
    return fail(why, "--prompt and --score take no --bursts, --window-seconds or --barrier");
  }
  if (arguments->iterations == 0) return fail(why, "--bursts, --window-seconds and --barrier want at least one of --iterations");
  if (bursts && arguments->iterations > MAX_ITERATIONS / arguments->bursts) {
    return fail(why, "--bursts times --iterations is more than %d", MAX_ITERATIONS);
  }
  return !windows || arguments->max_seconds / arguments->window_seconds <= MAX_WINDOWS ||
         fail(why, "--max-seconds has more than %d windows of --window-seconds", MAX_WINDOWS);
}

bool arguments_parse(int argc, char **argv, runner_arguments *arguments, failure *why) {
  memset(arguments, 0, sizeof *arguments);
  arguments->warmup = 5;
  arguments->iterations = 50;
  arguments->max_seconds = 30;
  arguments->turn_seconds = 0.05;
  arguments->threads = 1;
  arguments->inputs = calloc((size_t)argc + 1, sizeof *arguments->inputs);
  arguments->prompts = calloc((size_t)argc + 1, sizeof *arguments->prompts);
  if (arguments->inputs == NULL || arguments->prompts == NULL) return fail(why, "out of memory");
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    arguments->version = true;
    return true;
  }
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return fail(why, "argument '%s' is unknown or has no value", argv[i]);
    if (!parse_option(argv[i], argv[i + 1], arguments, why)) return false;
  }
  if (arguments->model == NULL) return fail(why, "--model is missing");
  if (arguments->output_dir == NULL) return fail(why, "--output-dir is missing");
  return check_language(arguments, why) && check_turns(arguments, why) && check_ways(arguments, why);
}

void arguments_release(runner_arguments *arguments) {
  free(arguments->inputs);
  free(arguments->prompts);
  free(arguments->cpus);
  memset(arguments, 0, sizeof *arguments);
}
