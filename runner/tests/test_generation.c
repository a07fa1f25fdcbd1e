/* A model of which everything is known: it says that the next token is twice the last one, plus the position, modulo its
 * vocabulary, and is the surer of it the later the position. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "generation.h"

#define VOCABULARY 11

static int64_t last_token, last_position;
static int64_t fed_tokens[64], fed_positions[64];
static size_t fed, largest_call, bound, calls;
static float logits[VOCABULARY];

static bool bind_inputs(const tensor_spec *inputs, size_t count, failure *why) {
  bound = (size_t)inputs[0].dims[1];
  if (count != 2 || inputs[0].rank != 2 || inputs[1].rank != 1 || inputs[1].dims[0] != inputs[0].dims[1]) {
    return fail(why, "wrong shapes");
  }
  return true;
}

static bool set_input(size_t index, const void *bytes, failure *why) {
  (void)why;
  int64_t *to = (index == 0 ? fed_tokens : fed_positions) + fed;
  memcpy(to, bytes, bound * sizeof *to);
  return true;
}

static bool invoke(failure *why) {
  (void)why;
  fed += bound;
  ++calls;
  if (bound > largest_call) largest_call = bound;
  last_token = fed_tokens[fed - 1];
  last_position = fed_positions[fed - 1];
  memset(logits, 0, sizeof logits);
  logits[(2 * last_token + last_position) % VOCABULARY] = (float)(1 + last_position);
  return true;
}

static size_t output_count(void) { return 1; }

static bool describe_output(size_t index, tensor_spec *spec, failure *why) {
  (void)index;
  (void)why;
  *spec = (tensor_spec){.type = ELEMENT_FLOAT32, .rank = 2, .dims = {1, VOCABULARY}};
  return true;
}

static bool read_output(size_t index, void *bytes, size_t size_bytes, failure *why) {
  (void)index;
  (void)why;
  memcpy(bytes, logits, size_bytes);
  return true;
}

static const runner_engine engine = {.bind_inputs = bind_inputs,
                                     .set_input = set_input,
                                     .invoke = invoke,
                                     .output_count = output_count,
                                     .describe_output = describe_output,
                                     .read_output = read_output};

static void start(void) { fed = largest_call = calls = 0; }

static void test_generation(void) {
  failure why;
  int64_t prompt[5] = {3, 1, 4, 1, 5};
  const token_list list = {.tokens = prompt, .count = 5};
  generated result = {0};
  start();
  CHECK(generate(&engine, &list, 2, 4, &result, &why));
  /* 5 at 4 -> 14 = 3; 3 at 5 -> 11 = 0; 0 at 6 -> 6; 6 at 7 -> 19 = 8. */
  CHECK(result.count == 4 && result.tokens[0] == 3 && result.tokens[1] == 0 && result.tokens[2] == 6 && result.tokens[3] == 8);
  CHECK(result.prompt_count == 5 && largest_call == 2 && calls == 3 + 3);
  CHECK(memcmp(fed_tokens, prompt, sizeof prompt) == 0);
  for (size_t i = 0; i < fed; ++i) CHECK(fed_positions[i] == (int64_t)i);
  CHECK(result.ttft_ns >= result.prefill_ns && result.prefill_ns > 0 && result.decode_ns[2] > 0);
  free(result.tokens);
  free(result.decode_ns);
  start();
  CHECK(generate(&engine, &list, 0, 1, &result, &why));
  CHECK(largest_call == 5 && calls == 1 && result.tokens[0] == 3);
  free(result.tokens);
  free(result.decode_ns);
}

static void test_score(void) {
  failure why;
  double nll;
  size_t scored;
  /* Two windows of 3 and one of 1: the first token of each is not scored, the last of each is not fed. */
  int64_t text[7] = {2, 4, 9, 0, 0, 5, 7};
  const token_list list = {.tokens = text, .count = 7};
  start();
  CHECK(score(&engine, &list, 3, &nll, &scored, &why));
  CHECK(scored == 4 && calls == 4 && fed_tokens[2] == 0 && fed_positions[2] == 0);
  /* Predicted: 2 at 0 -> 4, right; 4 at 1 -> 9, right; 0 at 0 -> 0, right; 0 at 1 -> 1, but 5 came. */
  const double first = log(10 + exp(1)), second = log(10 + exp(2));
  CHECK(fabs(nll - ((first - 1) + (second - 2) + (first - 1) + second)) < 1e-6);
  text[1] = VOCABULARY;
  CHECK(!score(&engine, &list, 3, &nll, &scored, &why) && strstr(why.message, "vocabulary") != NULL);
}

int main(void) {
  test_generation();
  test_score();
  return failed_checks != 0;
}
