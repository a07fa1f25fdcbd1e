/* A run of a language model, in place of cases and timed iterations. */
#ifndef EDGEDEPLOY_LANGUAGE_H
#define EDGEDEPLOY_LANGUAGE_H

#include "json_text.h"
#include "session.h"

bool is_language(const session *run);
/* Prompts and text, before anything is loaded. */
bool language_read(session *run, failure *why);
/* Answers every prompt once, and takes its turns or scores the text. */
bool language_run(session *run, failure *why);
void language_describe(const session *run, json_text *text);

#endif
