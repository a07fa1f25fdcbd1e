/* One line per expectation; the program ends with code 1 when one of them failed. */
#ifndef EDGEDEPLOY_CHECK_H
#define EDGEDEPLOY_CHECK_H

#include <stdio.h>

static int failed_checks = 0;

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      ++failed_checks;                                                      \
    }                                                                       \
  } while (0)

#endif
