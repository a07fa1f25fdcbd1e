/* Drives a language model token by token: greedy generation from prompts, and the likelihood of a given text.
 *
 * The model takes tokens int64[1,S] and their positions int64[S], keeps its key-value cache in itself, and gives the logits
 * float32[1,vocabulary] of the last token. A position may be written again: what the cache holds beyond the tokens fed
 * since position 0 is never looked at, so each prompt simply starts there. */
#ifndef EDGEDEPLOY_GENERATION_H
#define EDGEDEPLOY_GENERATION_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t *tokens;
  size_t count;
} token_list;

/* One prompt's answer. `prefill_ns` spans the calls that took the prompt in, `ttft_ns` those and the choice of the first
 * token; `decode_ns` has one entry for every token after the first, from the token before it being known to it being known. */
typedef struct {
  size_t prompt_count;
  int64_t prefill_ns;
  int64_t ttft_ns;
  int64_t *tokens;
  int64_t *decode_ns;
  size_t count;
} generated;

/* Reads a file of int64, little-endian. */
bool read_tokens(const char *path, token_list *list, failure *why);

/* Takes the prompt in, `chunk` tokens at a time, then generates `count` tokens, whatever they are: it does not end early.
 * Memory is allocated before the clock starts. */
bool generate(const runner_engine *engine, const token_list *prompt, size_t chunk, size_t count, generated *result,
              failure *why);

/* Feeds `text` token by token, in windows that each start at position 0, and sums the negative log-likelihood (natural
 * logarithm) of every token but a window's first. */
bool score(const runner_engine *engine, const token_list *text, size_t window, double *nll, size_t *scored, failure *why);

#ifdef __cplusplus
}
#endif
#endif
