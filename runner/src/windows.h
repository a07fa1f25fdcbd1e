/* Iterations for so long, told by windows of time: of each how many there were, and the latencies of some of them. */
#ifndef EDGEDEPLOY_WINDOWS_H
#define EDGEDEPLOY_WINDOWS_H

#include "session.h"

/* Of a window; evenly spread over it, the first one among them. */
#define WINDOW_KEPT 100

bool windows_reserve(session *run, failure *why);
bool windows_take(session *run, failure *why);

#endif
