/* Iterations that are timed: the two clock readings stand directly around the invoke. */
#ifndef EDGEDEPLOY_TIMED_LOOP_H
#define EDGEDEPLOY_TIMED_LOOP_H

#include "session.h"

typedef struct {
  int64_t began_ns;
  int64_t ended_ns;
} iteration;

/* The inputs are put in place before every one, because an engine may plan other tensors into the memory of an input it is
 * done with. */
bool iterate(session *run, iteration *timed, failure *why);
bool warm_up(session *run, failure *why);
bool measure(session *run, failure *why);
/* In place of the measurement: the same iterations, watched. Their times are reported apart, because watching costs. */
bool profile(session *run, failure *why);

#endif
