#include "json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void append(json_text *text, const char *chars, size_t size) {
  if (text->size + size + 1 > text->capacity) {
    size_t capacity = text->capacity ? text->capacity : 1024;
    while (capacity < text->size + size + 1) capacity *= 2;
    char *grown = realloc(text->chars, capacity);
    if (grown == NULL) abort();
    text->chars = grown;
    text->capacity = capacity;
  }
  memcpy(text->chars + text->size, chars, size);
  text->size += size;
  text->chars[text->size] = '\0';
}

void json_raw(json_text *text, const char *chars) { append(text, chars, strlen(chars)); }

void json_integer(json_text *text, int64_t value) {
  char digits[24];
  append(text, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

void json_number(json_text *text, double value) {
  char digits[40];
  append(text, digits, (size_t)snprintf(digits, sizeof digits, "%.17g", value));
}

void json_integers(json_text *text, const int64_t *values, size_t count) {
  json_raw(text, "[");
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) json_raw(text, ", ");
    json_integer(text, values[i]);
  }
  json_raw(text, "]");
}

/* Bytes of the well-formed UTF-8 sequence that starts here (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const unsigned char *at) {
  const unsigned char lead = at[0];
  size_t length;
  unsigned char low = 0x80, high = 0xBF;
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F; /* no surrogates */
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F; /* nothing above U+10FFFF */
  } else {
    return 0;
  }
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (at[i] < 0x80 || at[i] > 0xBF) return 0;
  }
  return length;
}

void json_string(json_text *text, const char *value) {
  append(text, "\"", 1);
  const unsigned char *at = (const unsigned char *)value;
  while (*at != '\0') {
    char escape[8];
    const size_t length = utf8_sequence(at);
    if (length == 0) {
      append(text, "\\ufffd", 6);
      at += 1;
    } else if (*at == '"' || *at == '\\') {
      escape[0] = '\\';
      escape[1] = (char)*at;
      append(text, escape, 2);
      at += 1;
    } else if (*at < 0x20 || *at == 0x7F) {
      append(text, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", *at));
      at += 1;
    } else {
      append(text, (const char *)at, length);
      at += length;
    }
  }
  append(text, "\"", 1);
}

void json_member(json_text *text, const char *name, int64_t value) {
  json_raw(text, ", \"");
  json_raw(text, name);
  json_raw(text, "\": ");
  json_integer(text, value);
}

void json_release(json_text *text) {
  free(text->chars);
  text->chars = NULL;
  text->size = text->capacity = 0;
}
