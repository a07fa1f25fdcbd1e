/* Lines of standard input, of any length. */
#ifndef EDGEDEPLOY_DEVICE_INPUT_LINE_H
#define EDGEDEPLOY_DEVICE_INPUT_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

typedef struct {
  char *text; /* without the line's end; kept until the next line is asked for */
  size_t room_bytes;
  uint64_t number; /* from 1 on */
} input_line;

/* False at the end of the input, and where it cannot be read. */
bool next_input_line(input_line *line);
/* After the last line: false where the input did not end but could not be read. */
bool input_was_read(failure *why);

#endif
