/* Processes that wait for one another: who is handed the baton goes on. It comes as a byte on stdin and is passed on by
 * descriptor 3; whoever starts them joins them by pipes. When a process ends, its pipes say so. */
#ifndef EDGEDEPLOY_BATON_H
#define EDGEDEPLOY_BATON_H

#include "failure.h"

/* Waits for as long as the other one takes; false where it has ended. */
bool baton_wait(failure *why);
bool baton_pass(failure *why);

#endif
