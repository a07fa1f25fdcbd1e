/* A growing piece of JSON text. Running out of memory ends the program: there is nothing sensible left to print. */
#ifndef EDGEDEPLOY_JSON_TEXT_H
#define EDGEDEPLOY_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  char *chars;
  size_t size;
  size_t capacity;
} json_text;

void json_raw(json_text *text, const char *chars);
void json_integer(json_text *text, int64_t value);
/* A finite number, with as many digits as it takes to read the same one back. */
void json_number(json_text *text, double value);
/* A quoted JSON string. Bytes that are not UTF-8 become U+FFFD, so that the document always parses. */
void json_string(json_text *text, const char *value);
void json_integers(json_text *text, const int64_t *values, size_t count);
/* `, "name": value`, for every member of an object but its first. */
void json_member(json_text *text, const char *name, int64_t value);
void json_release(json_text *text);

#ifdef __cplusplus
}
#endif
#endif
