/* "OFFSET LENGTH REST": a range of bytes, as it stands in a line of input. */
#ifndef EDGEDEPLOY_DEVICE_RANGE_LINE_H
#define EDGEDEPLOY_DEVICE_RANGE_LINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  uint64_t offset_bytes;
  uint64_t length_bytes;
  const char *rest; /* what follows the blank after LENGTH, inside the line; NULL where the line ends before */
} range_line;

/* Decimal digits up to INT64_MAX and nothing else: no sign, no blanks. */
bool parse_bytes(const char *text, uint64_t *bytes);
/* False for anything that is not two such numbers, or a range that ends beyond INT64_MAX. */
bool parse_range_line(const char *line, range_line *range);

#endif
