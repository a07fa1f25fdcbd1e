/* The part of LiteRT's C API that the runner calls, declared for ai-edge-litert 2.3.0, whose wheel has the library but
 * no headers. Facts from the official headers, folder litert/c of github.com/google-ai-edge/LiteRT. The ABI moves
 * between releases (2.3.0's LiteRtCreateModelFromBuffer takes an environment first): another release needs this file
 * checked. */
#ifndef EDGEDEPLOY_LITERT_ABI_H
#define EDGEDEPLOY_LITERT_ABI_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct litert_environment litert_environment;
typedef struct litert_model litert_model;
typedef struct litert_options litert_options;
typedef struct litert_opaque_options litert_opaque_options;
typedef struct litert_compiled_model litert_compiled_model;
typedef struct litert_signature litert_signature;
typedef struct litert_subgraph litert_subgraph;
typedef struct litert_tensor litert_tensor;
typedef struct litert_buffer litert_buffer;
typedef struct litert_requirements litert_requirements;
typedef struct litert_profiler litert_profiler;

typedef int litert_status; /* 0 is success */

enum { LITERT_MAX_RANK = 8 };

typedef struct {
  unsigned int rank : 7;
  unsigned int has_strides : 1;
  int32_t dims[LITERT_MAX_RANK]; /* below 0: dynamic */
  uint32_t strides[LITERT_MAX_RANK];
} litert_layout;

typedef struct {
  int32_t element_type;
  litert_layout layout;
} litert_tensor_type;

static_assert(sizeof(litert_layout) == 68, "LiteRtLayout of 2.3.0 has 68 bytes");
static_assert(sizeof(litert_tensor_type) == 72, "LiteRtRankedTensorType of 2.3.0 has 72 bytes");

enum {
  LITERT_FLOAT32 = 1,
  LITERT_INT32 = 2,
  LITERT_UINT8 = 3,
  LITERT_INT64 = 4,
  LITERT_BOOL = 6,
  LITERT_INT16 = 7,
  LITERT_INT8 = 9,
  LITERT_FLOAT16 = 10,
  LITERT_FLOAT64 = 11
};

enum { LITERT_ACCELERATOR_CPU = 1 };
enum { LITERT_LOCK_READ = 0, LITERT_LOCK_WRITE = 1 };

/* What the profiler keeps of an event. */
typedef struct {
  const char *name;
  int32_t kind;
  uint64_t began_us;
  uint64_t elapsed_us;
  size_t memory_before_bytes[3], memory_after_bytes[3];
  uint64_t node; /* of the graph; within a delegate, the position among its operators */
  uint64_t graph;
  int32_t source;
} litert_event;

static_assert(sizeof(litert_event) == 104, "ProfiledEventData of 2.3.0 has 104 bytes");

/* A node of the graph, of the runtime's own kernels or a delegate as a whole; what ran within a delegate. The second
 * kind is within a node that is an event too, the third within one that is not. */
enum { LITERT_EVENT_NODE = 1 << 1, LITERT_EVENT_WITHIN_NODE = 1 << 2, LITERT_EVENT_WITHIN_DELEGATE = 1 << 3 };

/* X(member, symbol, result, parameters) for every function used. */
#define LITERT_FUNCTIONS(X)                                                                                           \
  X(create_environment, "LiteRtCreateEnvironment", litert_status, (int, const void *, litert_environment **))         \
  X(create_model, "LiteRtCreateModelFromBuffer", litert_status,                                                       \
    (litert_environment *, const void *, size_t, litert_model **))                                                    \
  X(create_options, "LiteRtCreateOptions", litert_status, (litert_options **))                                        \
  X(set_accelerators, "LiteRtSetOptionsHardwareAccelerators", litert_status, (litert_options *, int))                 \
  X(create_opaque_options, "LiteRtCreateOpaqueOptions", litert_status,                                                \
    (const char *, void *, void (*)(void *), litert_opaque_options **))                                               \
  X(add_opaque_options, "LiteRtAddOpaqueOptions", litert_status, (litert_options *, litert_opaque_options *))         \
  X(create_compiled_model, "LiteRtCreateCompiledModel", litert_status,                                                \
    (litert_environment *, litert_model *, litert_options *, litert_compiled_model **))                               \
  X(signature_count, "LiteRtGetNumModelSignatures", litert_status, (litert_model *, size_t *))                        \
  X(signature, "LiteRtGetModelSignature", litert_status, (litert_model *, size_t, litert_signature **))               \
  X(signature_key, "LiteRtGetSignatureKey", litert_status, (litert_signature *, const char **))                       \
  X(signature_subgraph, "LiteRtGetSignatureSubgraph", litert_status, (litert_signature *, litert_subgraph **))        \
  X(input_count, "LiteRtGetNumSignatureInputs", litert_status, (litert_signature *, size_t *))                        \
  X(input_tensor, "LiteRtGetSignatureInputTensorByIndex", litert_status,                                              \
    (litert_signature *, size_t, litert_tensor **))                                                                   \
  X(output_count, "LiteRtGetNumSignatureOutputs", litert_status, (litert_signature *, size_t *))                      \
  X(output_tensor, "LiteRtGetSignatureOutputTensorByIndex", litert_status,                                            \
    (litert_signature *, size_t, litert_tensor **))                                                                   \
  X(subgraph_input_count, "LiteRtGetNumSubgraphInputs", litert_status, (litert_subgraph *, size_t *))                 \
  X(subgraph_input, "LiteRtGetSubgraphInput", litert_status, (litert_subgraph *, size_t, litert_tensor **))           \
  X(subgraph_output_count, "LiteRtGetNumSubgraphOutputs", litert_status, (litert_subgraph *, size_t *))               \
  X(subgraph_output, "LiteRtGetSubgraphOutput", litert_status, (litert_subgraph *, size_t, litert_tensor **))         \
  X(graph, "LiteRtGetModelSubgraph", litert_status, (litert_model *, size_t, litert_subgraph **))                      \
  X(graph_operator_count, "LiteRtGetNumSubgraphOps", litert_status, (litert_subgraph *, size_t *))                    \
  X(tensor_type, "LiteRtGetRankedTensorType", litert_status, (litert_tensor *, litert_tensor_type *))                 \
  X(resize_input, "LiteRtCompiledModelResizeInputTensor", litert_status,                                              \
    (litert_compiled_model *, size_t, size_t, const int *, size_t))                                                   \
  X(input_requirements, "LiteRtGetCompiledModelInputBufferRequirements", litert_status,                               \
    (litert_compiled_model *, size_t, size_t, litert_requirements **))                                                \
  X(output_requirements, "LiteRtGetCompiledModelOutputBufferRequirements", litert_status,                             \
    (litert_compiled_model *, size_t, size_t, litert_requirements **))                                                \
  X(output_layouts, "LiteRtGetCompiledModelOutputTensorLayouts", litert_status,                                       \
    (litert_compiled_model *, size_t, size_t, litert_layout *, bool))                                                 \
  X(create_buffer, "LiteRtCreateManagedTensorBufferFromRequirements", litert_status,                                  \
    (litert_environment *, const litert_tensor_type *, litert_requirements *, litert_buffer **))                      \
  X(buffer_size, "LiteRtGetTensorBufferSize", litert_status, (litert_buffer *, size_t *))                             \
  X(lock_buffer, "LiteRtLockTensorBuffer", litert_status, (litert_buffer *, void **, int))                            \
  X(unlock_buffer, "LiteRtUnlockTensorBuffer", litert_status, (litert_buffer *))                                      \
  X(profiler, "LiteRtCompiledModelGetProfiler", litert_status, (litert_compiled_model *, litert_profiler **))          \
  X(start_profiler, "LiteRtStartProfiler", litert_status, (litert_profiler *))                                        \
  X(stop_profiler, "LiteRtStopProfiler", litert_status, (litert_profiler *))                                          \
  X(event_count, "LiteRtGetNumProfilerEvents", litert_status, (litert_profiler *, int *))                             \
  X(events, "LiteRtGetProfilerEvents", litert_status, (litert_profiler *, int, litert_event *))                       \
  X(run, "LiteRtRunCompiledModel", litert_status,                                                                     \
    (litert_compiled_model *, size_t, size_t, litert_buffer **, size_t, litert_buffer **))

#endif
