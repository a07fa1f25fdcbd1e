#include "tensor_spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  size_t size_bytes;
} element_types[] = {{"float32", 4}, {"float16", 2}, {"float64", 8}, {"int64", 8}, {"int32", 4},
                     {"int16", 2},   {"int8", 1},    {"uint8", 1},   {"bool", 1}};

const char *element_type_name(element_type type) {
  return type < ELEMENT_UNKNOWN ? element_types[type].name : "an element type without a name in the protocol";
}

size_t element_type_size_bytes(element_type type) {
  return type < ELEMENT_UNKNOWN ? element_types[type].size_bytes : 0;
}

element_type element_type_from_name(const char *name, size_t length) {
  for (int type = 0; type < ELEMENT_UNKNOWN; ++type) {
    if (strlen(element_types[type].name) == length && memcmp(element_types[type].name, name, length) == 0) {
      return (element_type)type;
    }
  }
  return ELEMENT_UNKNOWN;
}

bool tensor_size_bytes(const tensor_spec *spec, size_t *size_bytes) {
  size_t size = element_type_size_bytes(spec->type);
  for (size_t i = 0; i < spec->rank; ++i) {
    if (spec->dims[i] < 0 || __builtin_mul_overflow(size, (size_t)spec->dims[i], &size)) return false;
  }
  *size_bytes = size;
  return true;
}

bool tensor_same(const tensor_spec *a, const tensor_spec *b) {
  return a->type == b->type && a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0;
}

const char *tensor_describe(const tensor_spec *spec, char text[SHAPE_TEXT_BYTES]) {
  size_t used = (size_t)snprintf(text, SHAPE_TEXT_BYTES, "%s[", element_type_name(spec->type));
  for (size_t i = 0; i < spec->rank && used + 24 < SHAPE_TEXT_BYTES; ++i) {
    used += (size_t)snprintf(text + used, SHAPE_TEXT_BYTES - used, i > 0 ? ",%" PRId64 : "%" PRId64, spec->dims[i]);
  }
  snprintf(text + used, SHAPE_TEXT_BYTES - used, "]");
  return text;
}
