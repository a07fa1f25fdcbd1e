#define _GNU_SOURCE
#include "language.h"

#include <stdlib.h>

#include "turns.h"

bool is_language(const session *run) {
  return run->arguments.prompt_count > 0 || run->arguments.score != NULL;
}

bool language_read(session *run, failure *why) {
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

bool language_run(session *run, failure *why) {
  const runner_arguments *arguments = &run->arguments;
  run->stage = "execute";
  const process_usage before = usage_now();
  for (; run->answer_count < arguments->prompt_count; ++run->answer_count) {
    const bool done = generate(run->engine, &run->prompts[run->answer_count], (size_t)arguments->prefill,
                               (size_t)arguments->generate, &run->answers[run->answer_count], why);
    if (!done) return false;
  }
  if (arguments->turns != NULL) return turns_take(run, why);
  usage_add_since(&run->timed_usage, before);
  return arguments->score == NULL ||
         score(run->engine, &run->text, (size_t)arguments->window, &run->nll, &run->scored, why);
}

void language_describe(const session *run, json_text *text) {
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
