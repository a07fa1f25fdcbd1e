/* Lines that name a range of bytes: what is read of good ones, and that bad ones are refused. */
#include <string.h>

#include "check.h"
#include "device/range_line.h"

static bool reads(const char *line, uint64_t offset_bytes, uint64_t length_bytes, const char *rest) {
  range_line range;
  if (!parse_range_line(line, &range)) return false;
  const bool same_rest = rest == NULL ? range.rest == NULL : range.rest != NULL && strcmp(range.rest, rest) == 0;
  return range.offset_bytes == offset_bytes && range.length_bytes == length_bytes && same_rest;
}

static bool refuses(const char *line) {
  range_line range;
  return !parse_range_line(line, &range);
}

int main(void) {
  CHECK(reads("0 0", 0, 0, NULL));
  CHECK(reads("12 34", 12, 34, NULL));
  CHECK(reads("12 34 blobs/ab cd  e ", 12, 34, "blobs/ab cd  e "));
  CHECK(reads("12 34 ", 12, 34, ""));
  CHECK(reads("12 34  x", 12, 34, " x"));
  CHECK(reads("9223372036854775807 0", INT64_MAX, 0, NULL));
  CHECK(reads("1 9223372036854775806", 1, INT64_MAX - 1, NULL));
  CHECK(refuses("1 9223372036854775807"));
  CHECK(refuses("9223372036854775808 0"));
  CHECK(refuses(""));
  CHECK(refuses("1"));
  CHECK(refuses("1 "));
  CHECK(refuses(" 1 2"));
  CHECK(refuses("1  2"));
  CHECK(refuses("+1 2"));
  CHECK(refuses("-1 2"));
  CHECK(refuses("1 0x2"));
  CHECK(refuses("1 2k"));
  CHECK(refuses("1\t2"));

  uint64_t bytes = 0;
  CHECK(parse_bytes("9223372036854775807", &bytes) && bytes == INT64_MAX);
  CHECK(!parse_bytes("9223372036854775808", &bytes));
  CHECK(!parse_bytes("", &bytes));
  CHECK(!parse_bytes("1 ", &bytes));
  CHECK(!parse_bytes("-0", &bytes));
  return failed_checks != 0;
}
