/* Processes that wait for one another (baton.h): two that are compared, turn by turn, or several that begin together. */
#ifndef EDGEDEPLOY_TURNS_H
#define EDGEDEPLOY_TURNS_H

#include "session.h"

/* Room for all turns of this side. */
bool turns_reserve(session *run, failure *why);
/* The side of the first turn gets ready first: the other one waits here. */
bool turns_await_preparation(session *run, failure *why);
/* With --barrier: says that this process is ready, and waits until all are. */
bool turns_await_all(session *run, failure *why);
/* All turns of this side. Each passes the baton when it is ready, and the first turn begins when it is back. */
bool turns_take(session *run, failure *why);

#endif
