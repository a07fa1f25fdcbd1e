#include <string.h>

#include "check.h"
#include "json_text.h"

static void expect(const char *value, const char *quoted) {
  json_text text = {0};
  json_string(&text, value);
  if (strcmp(text.chars, quoted) != 0) fprintf(stderr, "got %s, expected %s\n", text.chars, quoted);
  CHECK(strcmp(text.chars, quoted) == 0);
  json_release(&text);
}

int main(void) {
  expect("", "\"\"");
  expect("a\"b\\c", "\"a\\\"b\\\\c\"");
  expect("\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\\u007f\"");
  expect("\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xb1", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x93\xb1\"");
  expect("\xff", "\"\\ufffd\"");                                 /* never a lead byte */
  expect("\xc0\xaf", "\"\\ufffd\\ufffd\"");                      /* overlong */
  expect("\xe2\x82", "\"\\ufffd\\ufffd\"");                      /* cut off */
  expect("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");           /* surrogate */
  expect("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* above U+10FFFF */

  json_text text = {0};
  const int64_t values[] = {0, -1, INT64_MAX, INT64_MIN};
  json_integers(&text, values, 4);
  CHECK(strcmp(text.chars, "[0, -1, 9223372036854775807, -9223372036854775808]") == 0);
  json_release(&text);

  for (int i = 0; i < 5000; ++i) json_raw(&text, "0123456789"); /* grows */
  CHECK(text.size == 50000 && strlen(text.chars) == 50000);
  json_release(&text);
  return failed_checks != 0;
}
