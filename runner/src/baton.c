#include "baton.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { BATON_OUT = 3 };

bool baton_wait(failure *why) {
  for (;;) {
    char baton;
    const ssize_t got = read(STDIN_FILENO, &baton, 1);
    if (got == 1) return true;
    if (got == 0) return fail(why, "the other side ended before its last turn");
    if (errno != EINTR) return fail(why, "no baton on stdin: %s", strerror(errno));
  }
}

bool baton_pass(failure *why) {
  signal(SIGPIPE, SIG_IGN);
  for (;;) {
    const char baton = '.';
    if (write(BATON_OUT, &baton, 1) == 1) return true;
    if (errno == EPIPE) return fail(why, "the other side ended before its last turn");
    if (errno != EINTR) return fail(why, "cannot pass the baton on descriptor %d: %s", BATON_OUT, strerror(errno));
  }
}
