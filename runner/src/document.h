/* What a runner prints: the document of docs/runner-protocol.md. */
#ifndef EDGEDEPLOY_DOCUMENT_H
#define EDGEDEPLOY_DOCUMENT_H

#include "json_text.h"
#include "session.h"

void document_of_version(json_text *text, const runner_engine *engine);
void document_of_failure(json_text *text, const char *stage, const failure *why);
void document_of_run(json_text *text, const session *run);

#endif
