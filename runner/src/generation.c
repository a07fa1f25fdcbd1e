#define _GNU_SOURCE
#include "generation.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process_facts.h"

/* Buffers of one model: positions to feed, and the logits that came back. */
typedef struct {
  const runner_engine *engine;
  size_t bound_tokens; /* how many tokens a call is bound to take now; 0: none yet */
  int64_t *positions;
  size_t positions_capacity;
  float *logits;
  size_t vocabulary;
} language_model;

bool read_tokens(const char *path, token_list *list, failure *why) {
  FILE *file = fopen(path, "rbe");
  if (file == NULL) return fail(why, "cannot open %s: %s", path, strerror(errno));
  size_t capacity = 0;
  for (;;) {
    if (list->count == capacity) {
      capacity = capacity == 0 ? 256 : capacity * 2;
      int64_t *grown = realloc(list->tokens, capacity * sizeof *grown);
      if (grown == NULL) {
        fclose(file);
        return fail(why, "no memory for the tokens of %s", path);
      }
      list->tokens = grown;
    }
    const size_t got = fread(list->tokens + list->count, 1, sizeof *list->tokens, file);
    if (got == 0) break;
    if (got != sizeof *list->tokens) {
      fclose(file);
      return fail(why, "%s is not a whole number of 64-bit tokens", path);
    }
    ++list->count;
  }
  const bool complete = !ferror(file);
  fclose(file);
  if (!complete) return fail(why, "cannot read all of %s", path);
  return list->count > 0 || fail(why, "%s holds no token", path);
}

static bool bind(language_model *lm, size_t count, failure *why) {
  if (lm->bound_tokens == count) return true;
  const tensor_spec inputs[2] = {
      {.type = ELEMENT_INT64, .rank = 2, .dims = {1, (int64_t)count}},
      {.type = ELEMENT_INT64, .rank = 1, .dims = {(int64_t)count}},
  };
  lm->bound_tokens = count;
  return lm->engine->bind_inputs(inputs, 2, why);
}

/* The first call tells how large the vocabulary is. */
static bool measure_logits(language_model *lm, failure *why) {
  tensor_spec spec;
  if (lm->engine->output_count() != 1) {
    return fail(why, "the model has %zu outputs; a language model has one, its logits", lm->engine->output_count());
  }
  if (!lm->engine->describe_output(0, &spec, why)) return false;
  if (spec.type != ELEMENT_FLOAT32 || spec.rank != 2 || spec.dims[0] != 1 || spec.dims[1] < 2) {
    char shape[SHAPE_TEXT_BYTES];
    return fail(why, "the output is %s; the logits of a language model are float32[1,vocabulary]",
                tensor_describe(&spec, shape));
  }
  lm->vocabulary = (size_t)spec.dims[1];
  lm->logits = malloc(lm->vocabulary * sizeof *lm->logits);
  return lm->logits != NULL || fail(why, "no memory for the logits");
}

static bool feed(language_model *lm, const int64_t *tokens, size_t count, size_t position, failure *why) {
  if (count > lm->positions_capacity) {
    int64_t *grown = realloc(lm->positions, count * sizeof *grown);
    if (grown == NULL) return fail(why, "no memory for %zu positions", count);
    lm->positions = grown;
    lm->positions_capacity = count;
  }
  for (size_t i = 0; i < count; ++i) lm->positions[i] = (int64_t)(position + i);
  const runner_engine *engine = lm->engine;
  if (!bind(lm, count, why) || !engine->set_input(0, tokens, why) || !engine->set_input(1, lm->positions, why) ||
      !engine->invoke(why)) {
    return false;
  }
  if (lm->logits == NULL && !measure_logits(lm, why)) return false;
  return engine->read_output(0, lm->logits, lm->vocabulary * sizeof *lm->logits, why);
}

static void release(language_model *lm) {
  free(lm->positions);
  free(lm->logits);
}

/* The first of the largest, as torch.argmax has it. NaN is never chosen over a number. */
static int64_t largest(const language_model *lm) {
  size_t best = 0;
  for (size_t i = 1; i < lm->vocabulary; ++i) {
    if (lm->logits[i] > lm->logits[best] || isnan(lm->logits[best])) best = i;
  }
  return (int64_t)best;
}

static bool generate_all(language_model *lm, const token_list *prompt, size_t chunk, size_t count, generated *result,
                         failure *why) {
  const int64_t began_ns = monotonic_now_ns();
  for (size_t at = 0; at < prompt->count; at += chunk) {
    const size_t left = prompt->count - at;
    if (!feed(lm, prompt->tokens + at, left < chunk ? left : chunk, at, why)) return false;
  }
  result->prefill_ns = monotonic_now_ns() - began_ns;
  result->tokens[0] = largest(lm);
  int64_t known_ns = monotonic_now_ns();
  result->ttft_ns = known_ns - began_ns;
  for (result->count = 1; result->count < count; ++result->count) {
    const size_t last = result->count - 1;
    if (!feed(lm, result->tokens + last, 1, prompt->count + last, why)) return false;
    result->tokens[result->count] = largest(lm);
    const int64_t now_ns = monotonic_now_ns();
    result->decode_ns[last] = now_ns - known_ns;
    known_ns = now_ns;
  }
  return true;
}

bool generate(const runner_engine *engine, const token_list *prompt, size_t chunk, size_t count, generated *result,
              failure *why) {
  language_model lm = {.engine = engine};
  result->prompt_count = prompt->count;
  result->tokens = calloc(count + 1, sizeof *result->tokens);
  result->decode_ns = calloc(count + 1, sizeof *result->decode_ns);
  if (result->tokens == NULL || result->decode_ns == NULL) return fail(why, "no memory for %zu tokens", count);
  /* Touched here, so that no page fault falls into a measurement. */
  memset(result->tokens, 0xFF, (count + 1) * sizeof *result->tokens);
  memset(result->decode_ns, 0xFF, (count + 1) * sizeof *result->decode_ns);
  const bool done = generate_all(&lm, prompt, chunk == 0 ? prompt->count : chunk, count, result, why);
  release(&lm);
  return done;
}

static double negative_log_likelihood(const language_model *lm, int64_t token) {
  double highest = lm->logits[0], total = 0;
  for (size_t i = 1; i < lm->vocabulary; ++i) {
    if (lm->logits[i] > highest) highest = lm->logits[i];
  }
  for (size_t i = 0; i < lm->vocabulary; ++i) total += exp(lm->logits[i] - highest);
  return highest + log(total) - lm->logits[token];
}

bool score(const runner_engine *engine, const token_list *text, size_t window, double *nll, size_t *scored, failure *why) {
  language_model lm = {.engine = engine};
  *nll = 0;
  *scored = 0;
  bool done = true;
  /* A window's last token is only predicted, never fed. */
  for (size_t at = 0; done && at + 1 < text->count; ++at) {
    const size_t position = at % window;
    if (position == window - 1) continue;
    done = feed(&lm, text->tokens + at, 1, position, why);
    if (done && (text->tokens[at + 1] < 0 || (size_t)text->tokens[at + 1] >= lm.vocabulary)) {
      done = fail(why, "token %lld is not in the vocabulary of %zu", (long long)text->tokens[at + 1], lm.vocabulary);
    }
    if (done) {
      *nll += negative_log_likelihood(&lm, text->tokens[at + 1]);
      ++*scored;
    }
  }
  release(&lm);
  if (done && !isfinite(*nll)) return fail(why, "the model gives the text a likelihood that is not a number");
  return done;
}
