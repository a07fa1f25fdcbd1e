#include <string.h>

#include "arguments.h"
#include "check.h"

static runner_arguments parsed;
static failure why;

/* Arguments after the program's name, up to NULL. */
static bool parse(const char *const *words) {
  char *argv[32] = {"runner"};
  int argc = 1;
  while (words[argc - 1] != NULL) {
    argv[argc] = (char *)words[argc - 1];
    ++argc;
  }
  arguments_release(&parsed);
  return arguments_parse(argc, argv, &parsed, &why);
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})
#define WITH(...) PARSE("--model", "m", "--output-dir", "o", __VA_ARGS__)

int main(void) {
  CHECK(PARSE("--model", "m", "--output-dir", "o"));
  CHECK(parsed.warmup == 5 && parsed.iterations == 50 && parsed.threads == 1 && parsed.max_seconds == 30);
  CHECK(parsed.method == NULL && parsed.profile == 0);
  CHECK(WITH("--method", "encode") && strcmp(parsed.method, "encode") == 0);
  CHECK(!WITH("--method", "") && !WITH("--method"));
  CHECK(PARSE("--version") && parsed.version);

  CHECK(WITH("--input", "float32:1,3,8,8:/a:b.bin", "--input", "int64::s.bin"));
  CHECK(parsed.input_count == 2 && strcmp(parsed.inputs[0].file, "/a:b.bin") == 0);
  CHECK(parsed.inputs[0].spec.rank == 4 && parsed.inputs[0].spec.dims[1] == 3);
  CHECK(parsed.inputs[1].spec.rank == 0 && parsed.inputs[1].spec.type == ELEMENT_INT64);
  CHECK(WITH("--cpus", "4,5,7", "--threads", "0", "--iterations", "0", "--max-seconds", "0.5"));
  CHECK(parsed.cpu_count == 3 && parsed.cpus[2] == 7 && parsed.max_seconds == 0.5);

  CHECK(WITH("--prompt", "a", "--prompt", "b", "--generate", "8", "--prefill", "16", "--score", "t", "--window", "64"));
  CHECK(parsed.prompt_count == 2 && strcmp(parsed.prompts[1], "b") == 0 && parsed.generate == 8 && parsed.prefill == 16);
  CHECK(strcmp(parsed.score, "t") == 0 && parsed.window == 64);
  CHECK(WITH("--score", "t", "--window", "2"));
  CHECK(!WITH("--prompt", "a") && !WITH("--generate", "8") && !WITH("--prompt", "a", "--generate", "0"));
  CHECK(!WITH("--score", "t") && !WITH("--window", "64") && !WITH("--score", "t", "--window", "1"));
  CHECK(!WITH("--prompt", "a", "--generate", "8", "--input", "float32:1:f"));

  CHECK(WITH("--turns", "ABBA", "--side", "B", "--turn-seconds", "0.2"));
  CHECK(strcmp(parsed.turns, "ABBA") == 0 && parsed.side == 'B' && parsed.own_turns == 2 && parsed.turn_seconds == 0.2);
  CHECK(WITH("--turns", "A", "--side", "A", "--prompt", "a", "--generate", "8"));
  CHECK(!WITH("--turns", "AB") && !WITH("--side", "A") && !WITH("--turns", "", "--side", "A"));
  CHECK(!WITH("--turns", "ABC", "--side", "A") && !WITH("--turns", "AB", "--side", "C") && !WITH("--turns", "A", "--side", "B"));
  CHECK(!WITH("--turns", "AB", "--side", "") && !WITH("--turns", "AB", "--side", "AB"));
  CHECK(!WITH("--turns", "AB", "--side", "A", "--profile", "5") && !WITH("--turns", "AB", "--side", "A", "--iterations", "0"));
  CHECK(!WITH("--turns", "AAB", "--side", "A", "--iterations", "6000000"));
  CHECK(!WITH("--turns", "AB", "--side", "A", "--prompt", "a", "--prompt", "b", "--generate", "8"));
  CHECK(!WITH("--turn-seconds", "0"));

  CHECK(WITH("--threads", "1") && parsed.warmup_seconds == 0 && parsed.min_seconds == 0 && !parsed.vary);
  CHECK(WITH("--warmup-seconds", "5", "--min-seconds", "0.5", "--vary", "1", "--cold", "1"));
  CHECK(parsed.warmup_seconds == 5 && parsed.min_seconds == 0.5 && parsed.vary && parsed.cold);
  CHECK(WITH("--warmup-seconds", "0", "--min-seconds", "0", "--vary", "0") && parsed.min_seconds == 0 && !parsed.vary);
  CHECK(!WITH("--warmup-seconds", "-1") && !WITH("--min-seconds", "nan") && !WITH("--vary", "2") && !WITH("--vary", "") && !WITH("--cold", "yes"));

  CHECK(WITH("--bursts", "20", "--idle-seconds", "0.5", "--iterations", "10"));
  CHECK(parsed.bursts == 20 && parsed.idle_seconds == 0.5 && !parsed.barrier);
  CHECK(WITH("--window-seconds", "1", "--max-seconds", "600", "--barrier", "1") && parsed.window_seconds == 1 && parsed.barrier);
  CHECK(WITH("--bursts", "2", "--idle-seconds", "1", "--barrier", "1") && WITH("--barrier", "1"));
  CHECK(!WITH("--bursts", "2") && !WITH("--idle-seconds", "1") && !WITH("--bursts", "0", "--idle-seconds", "1"));
  CHECK(!WITH("--bursts", "2", "--idle-seconds", "nan") && !WITH("--bursts", "2", "--idle-seconds", "1e30"));
  CHECK(!WITH("--bursts", "2", "--idle-seconds", "1", "--window-seconds", "1") && !WITH("--bursts", "10001", "--idle-seconds", "1"));
  CHECK(!WITH("--bursts", "2", "--idle-seconds", "1", "--iterations", "0") && !WITH("--barrier", "1", "--iterations", "0"));
  CHECK(!WITH("--bursts", "1000", "--idle-seconds", "1", "--iterations", "100000"));
  CHECK(!WITH("--window-seconds", "1", "--profile", "5") && !WITH("--barrier", "1", "--profile", "5"));
  CHECK(!WITH("--window-seconds", "1", "--turns", "AB", "--side", "A") && !WITH("--barrier", "1", "--turns", "AB", "--side", "A"));
  CHECK(!WITH("--window-seconds", "0.001", "--max-seconds", "600") && !WITH("--window-seconds", "0") && !WITH("--barrier", "yes"));
  CHECK(!WITH("--window-seconds", "1", "--prompt", "a", "--generate", "8"));

  CHECK(!PARSE("--model", "m"));
  CHECK(!PARSE("--output-dir", "o"));
  CHECK(!WITH("--model"));
  CHECK(!WITH("--speed", "9") && strstr(why.message, "--speed") != NULL);
  static const char *const bad_inputs[] = {"float32", "float32:1", "float32:1:",   "float33:1:f", ":1:f",
                                           "float32:1,:f", "float32:,1:f", "float32:-1:f", "float32:1x:f",
                                           "float32: 1:f", "float32:99999999999999999999:f"};
  for (size_t i = 0; i < sizeof bad_inputs / sizeof *bad_inputs; ++i) {
    if (WITH("--input", bad_inputs[i])) fprintf(stderr, "accepted --input %s\n", bad_inputs[i]);
    CHECK(!WITH("--input", bad_inputs[i]));
  }
  CHECK(!WITH("--input", "float32:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1:f"));
  CHECK(WITH("--profile", "20") && parsed.profile == 20 && !WITH("--profile", "101") && !WITH("--profile", ""));
  CHECK(!WITH("--iterations", "-1") && !WITH("--iterations", "1e3") && !WITH("--iterations", ""));
  CHECK(!WITH("--iterations", "100000000") && !WITH("--warmup", "18446744073709551617"));
  CHECK(!WITH("--max-seconds", "0") && !WITH("--max-seconds", "nan") && !WITH("--max-seconds", "5s"));
  CHECK(!WITH("--cpus", "") && !WITH("--cpus", "1,") && !WITH("--cpus", "1024") && !WITH("--threads", "2000"));
  arguments_release(&parsed);
  return failed_checks != 0;
}
