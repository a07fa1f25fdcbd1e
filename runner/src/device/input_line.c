#include "input_line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool next_input_line(input_line *line) {
  const ssize_t length = getline(&line->text, &line->room_bytes, stdin);
  if (length < 0) return false;
  if (length > 0 && line->text[length - 1] == '\n') line->text[length - 1] = '\0';
  ++line->number;
  return true;
}

bool input_was_read(failure *why) {
  return feof(stdin) || fail(why, "standard input: %s", strerror(errno));
}
