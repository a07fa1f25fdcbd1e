#include "range_line.h"

#include <stddef.h>

/* Returns what follows the digits, or NULL where there are none or too many. */
static const char *take_digits(const char *text, uint64_t *bytes) {
  if (*text < '0' || *text > '9') return NULL;
  int64_t result = 0;
  for (; *text >= '0' && *text <= '9'; ++text) {
    if (__builtin_mul_overflow(result, (int64_t)10, &result)) return NULL;
    if (__builtin_add_overflow(result, (int64_t)(*text - '0'), &result)) return NULL;
  }
  *bytes = (uint64_t)result;
  return text;
}

bool parse_bytes(const char *text, uint64_t *bytes) {
  text = take_digits(text, bytes);
  return text != NULL && *text == '\0';
}

bool parse_range_line(const char *line, range_line *range) {
  const char *at = take_digits(line, &range->offset_bytes);
  if (at == NULL || *at != ' ') return false;
  at = take_digits(at + 1, &range->length_bytes);
  if (at == NULL || (*at != ' ' && *at != '\0')) return false;
  range->rest = *at == ' ' ? at + 1 : NULL;
  return range->length_bytes <= (uint64_t)INT64_MAX - range->offset_bytes;
}
