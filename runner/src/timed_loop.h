/* Iterations that are timed: the two clock readings stand directly around the invoke. */
#ifndef EDGEDEPLOY_TIMED_LOOP_H
#define EDGEDEPLOY_TIMED_LOOP_H

#include "session.h"

typedef struct {
  int64_t began_ns;
  int64_t ended_ns;
} iteration;

/* The inputs of case 0 are put in place, or with --vary those of case `number` modulo the number of cases. They are before every
 * iteration, because an engine may plan other tensors into the memory of an input it is done with. */
bool iterate(session *run, size_t number, iteration *timed, failure *why);
/* As many as were asked for; then until the process is steady, or the time for that is over. */
bool warm_up(session *run, failure *why);
/* As many as were asked for, and for as long as was asked for, unless the time is over before. */
bool measure(session *run, failure *why);
/* In place of the measurement: the same iterations, watched. Their times are reported apart, because watching costs. */
bool profile(session *run, failure *why);

#endif
