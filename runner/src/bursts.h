/* Iterations in bursts, with a rest before each: what somebody waits for who taps once in a while. */
#ifndef EDGEDEPLOY_BURSTS_H
#define EDGEDEPLOY_BURSTS_H

#include "session.h"

bool bursts_take(session *run, failure *why);

#endif
