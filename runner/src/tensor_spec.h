/* Element types and shapes as the protocol spells them. */
#ifndef EDGEDEPLOY_TENSOR_SPEC_H
#define EDGEDEPLOY_TENSOR_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  ELEMENT_FLOAT32,
  ELEMENT_FLOAT16,
  ELEMENT_FLOAT64,
  ELEMENT_INT64,
  ELEMENT_INT32,
  ELEMENT_INT16,
  ELEMENT_INT8,
  ELEMENT_UINT8,
  ELEMENT_BOOL,
  ELEMENT_UNKNOWN
} element_type;

#define TENSOR_MAX_RANK 16
#define SHAPE_TEXT_BYTES 384

typedef struct {
  element_type type;
  size_t rank;
  int64_t dims[TENSOR_MAX_RANK];
} tensor_spec;

const char *element_type_name(element_type type);
size_t element_type_size_bytes(element_type type);
element_type element_type_from_name(const char *name, size_t length);
/* False when the product does not fit. */
bool tensor_size_bytes(const tensor_spec *spec, size_t *size_bytes);
bool tensor_same(const tensor_spec *a, const tensor_spec *b);
/* "float32[1,3,8,8]"; returns its argument. */
const char *tensor_describe(const tensor_spec *spec, char text[SHAPE_TEXT_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
