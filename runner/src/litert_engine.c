/* LiteRT on the CPU: its own kernels and the XNNPACK delegate, through the CompiledModel C API. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "litert_abi.h"
#include "process_facts.h"

static struct {
#define DECLARE(member, symbol, result, parameters) result(*member) parameters;
  LITERT_FUNCTIONS(DECLARE)
#undef DECLARE
} api;

/* An input or an output. `at` is its place in the signature; the array around it is in the order of the protocol. */
typedef struct {
  size_t at;
  litert_tensor_type type;
} port;

static litert_environment *environment;
static litert_model *model;
static litert_compiled_model *compiled;
static size_t signature_at;
static port *inputs, *outputs;
static size_t input_total, output_total;
static litert_buffer **input_buffers, **output_buffers; /* in the signature's order */
static size_t *input_bytes;
static int requested_threads;
static int64_t threads_before_load;
static litert_profiler *profiler; /* NULL unless the model was loaded for a profile */

/* Names from litert/c/litert_common.h; the library exports no function that gives them. */
static const char *status_name(litert_status status) {
  switch (status) {
    case 1:
      return "invalid argument";
    case 2:
      return "memory allocation failure";
    case 3:
      return "runtime failure";
    case 4:
      return "missing input tensor";
    case 5:
      return "unsupported";
    case 6:
      return "not found";
    case 500:
      return "file I/O";
    case 501:
      return "invalid flatbuffer";
    case 504:
      return "compilation";
    default:
      return "see stderr";
  }
}

static bool succeeded(litert_status status, const char *what, failure *why) {
  return status == 0 || fail(why, "%s: LiteRT status %d (%s)", what, status, status_name(status));
}

static element_type element_type_of(int32_t type) {
  switch (type) {
    case LITERT_FLOAT32:
      return ELEMENT_FLOAT32;
    case LITERT_FLOAT16:
      return ELEMENT_FLOAT16;
    case LITERT_FLOAT64:
      return ELEMENT_FLOAT64;
    case LITERT_INT64:
      return ELEMENT_INT64;
    case LITERT_INT32:
      return ELEMENT_INT32;
    case LITERT_INT16:
      return ELEMENT_INT16;
    case LITERT_INT8:
      return ELEMENT_INT8;
    case LITERT_UINT8:
      return ELEMENT_UINT8;
    case LITERT_BOOL:
      return ELEMENT_BOOL;
    default:
      return ELEMENT_UNKNOWN;
  }
}

static tensor_spec spec_of(const litert_tensor_type *type) {
  tensor_spec spec = {.type = element_type_of(type->element_type), .rank = type->layout.rank};
  for (size_t i = 0; i < spec.rank && i < LITERT_MAX_RANK; ++i) spec.dims[i] = type->layout.dims[i];
  return spec;
}

static bool prepare(int threads, failure *why) {
  requested_threads = threads;
  void *library = dlopen("libLiteRt.so", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return fail(why, "cannot load libLiteRt.so: %s", dlerror());
#define FIND(member, symbol, result, parameters)                       \
  api.member = (result(*) parameters)dlsym(library, symbol);           \
  if (api.member == NULL) return fail(why, "libLiteRt.so has no %s; it is not version " EDGEDEPLOY_ENGINE_VERSION, symbol);
  LITERT_FUNCTIONS(FIND)
#undef FIND
  return succeeded(api.create_environment(0, NULL, &environment), "cannot create the environment", why);
}

/* Options of a part of LiteRT travel as TOML text under its name. */
static bool add_option(litert_options *options, const char *part, const char *key, const char *value, failure *why) {
  char *toml = malloc(strlen(key) + strlen(value) + 5);
  if (toml == NULL) return fail(why, "out of memory");
  sprintf(toml, "%s = %s\n", key, value);
  litert_opaque_options *opaque;
  return succeeded(api.create_opaque_options(part, toml, free, &opaque), key, why) &&
         succeeded(api.add_opaque_options(options, opaque), key, why);
}

/* CPU only. */
static bool make_options(litert_options **options, bool profiled, failure *why) {
  char threads[16];
  snprintf(threads, sizeof threads, "%d", requested_threads);
  return succeeded(api.create_options(options), "cannot create options", why) &&
         succeeded(api.set_accelerators(*options, LITERT_ACCELERATOR_CPU), "cannot choose the CPU", why) &&
         (requested_threads == 0 || add_option(*options, "xnnpack", "num_threads", threads, why)) &&
         (!profiled || add_option(*options, "runtime_options_string", "enable_profiling", "true", why));
}

/* `wanted`; without a wish `serving_default` where there is one, else the first. LiteRT makes one up for a model without
 * signatures. */
static bool choose_signature(const char *wanted, litert_signature **chosen, failure *why) {
  size_t count = 0;
  if (!succeeded(api.signature_count(model, &count), "cannot read the signatures", why)) return false;
  if (count == 0) return fail(why, "the model has no signature");
  char names[512] = "";
  size_t used = 0;
  for (size_t i = 0; i < count; ++i) {
    litert_signature *signature;
    const char *key = NULL;
    if (!succeeded(api.signature(model, i, &signature), "cannot read a signature", why) ||
        !succeeded(api.signature_key(signature, &key), "cannot read a signature", why)) {
      return false;
    }
    const bool found = strcmp(key, wanted == NULL ? "serving_default" : wanted) == 0;
    if (found || (wanted == NULL && i == 0)) {
      *chosen = signature;
      signature_at = i;
    }
    if (found) return true;
    if (used < sizeof names) used += (size_t)snprintf(names + used, sizeof names - used, i > 0 ? ", %s" : "%s", key);
  }
  return wanted == NULL || fail(why, "the model has no signature '%s'; it has: %s", wanted, names);
}

typedef litert_status (*tensor_function)(litert_signature *, size_t, litert_tensor **);
typedef litert_status (*subgraph_tensor_function)(litert_subgraph *, size_t, litert_tensor **);

typedef struct {
  port value;
  long rank;
} ranked_port;

static int by_rank(const void *left, const void *right) {
  const long a = ((const ranked_port *)left)->rank, b = ((const ranked_port *)right)->rank;
  return (a > b) - (a < b);
}

/* The place of a tensor among the subgraph's own inputs or outputs; -1 when it is not one of them. */
static long subgraph_place(litert_subgraph *subgraph, size_t count, subgraph_tensor_function get,
                           const litert_tensor *wanted) {
  for (size_t i = 0; i < count; ++i) {
    litert_tensor *tensor = NULL;
    if (get(subgraph, i, &tensor) == 0 && tensor == wanted) return (long)i;
  }
  return -1;
}

/* Order of the protocol: as the subgraph declares them. The signature has them in the order of the alphabet. */
static bool order_ports(litert_signature *signature, size_t count, tensor_function get_tensor, size_t subgraph_count,
                        subgraph_tensor_function get_in_subgraph, port **ports, failure *why) {
  *ports = calloc(count + 1, sizeof **ports);
  ranked_port *ranked = calloc(count + 1, sizeof *ranked);
  litert_subgraph *subgraph = NULL;
  if (*ports == NULL || ranked == NULL) return fail(why, "out of memory");
  if (!succeeded(api.signature_subgraph(signature, &subgraph), "cannot read the signature", why)) return false;
  for (size_t i = 0; i < count; ++i) {
    litert_tensor *tensor = NULL;
    if (!succeeded(get_tensor(signature, i, &tensor), "cannot read the signature", why)) return false;
    ranked[i].value.at = i;
    if (!succeeded(api.tensor_type(tensor, &ranked[i].value.type), "a tensor without a rank", why)) return false;
    ranked[i].rank = subgraph_place(subgraph, subgraph_count, get_in_subgraph, tensor);
    if (ranked[i].rank < 0) return fail(why, "the signature names a tensor that the graph does not have");
  }
  qsort(ranked, count, sizeof *ranked, by_rank);
  for (size_t i = 0; i < count; ++i) (*ports)[i] = ranked[i].value;
  free(ranked);
  return true;
}

static bool read_signature(const char *wanted, failure *why) {
  litert_signature *signature = NULL;
  litert_subgraph *subgraph = NULL;
  size_t subgraph_inputs = 0, subgraph_outputs = 0;
  return choose_signature(wanted, &signature, why) &&
         succeeded(api.input_count(signature, &input_total), "cannot read the inputs", why) &&
         succeeded(api.output_count(signature, &output_total), "cannot read the outputs", why) &&
         succeeded(api.signature_subgraph(signature, &subgraph), "cannot read the graph", why) &&
         succeeded(api.subgraph_input_count(subgraph, &subgraph_inputs), "cannot read the graph", why) &&
         succeeded(api.subgraph_output_count(subgraph, &subgraph_outputs), "cannot read the graph", why) &&
         order_ports(signature, input_total, api.input_tensor, subgraph_inputs, api.subgraph_input, &inputs, why) &&
         order_ports(signature, output_total, api.output_tensor, subgraph_outputs, api.subgraph_output, &outputs, why);
}

/* Maps the file for as long as the process lives. LiteRtCreateModelFromFile would map it too, but 2.3.0 checks the
 * flatbuffer only when it comes as a buffer: a file cut off in its weights would load and compute something else. */
static bool map_model(const char *path, const void **bytes, size_t *size_bytes, failure *why) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) return fail(why, "cannot open %s: %s", path, strerror(errno));
  *size_bytes = (size_t)info.st_size;
  *bytes = mmap(NULL, *size_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  const int reason = errno;
  close(file);
  return *bytes != MAP_FAILED || fail(why, "cannot map %s: %s", path, strerror(reason));
}

static bool load(const char *path, const char *method, bool profiled, failure *why) {
  threads_before_load = thread_count();
  litert_options *options = NULL;
  const void *bytes = NULL;
  size_t size_bytes = 0;
  return map_model(path, &bytes, &size_bytes, why) &&
         succeeded(api.create_model(environment, bytes, size_bytes, &model), "not a usable TFLite model", why) &&
         make_options(&options, profiled, why) &&
         succeeded(api.create_compiled_model(environment, model, options, &compiled), "cannot compile the model", why) &&
         (!profiled || succeeded(api.profiler(compiled, &profiler), "cannot profile", why)) &&
         (!profiled || profiler != NULL || fail(why, "LiteRT gives no profiler")) && read_signature(method, why);
}

/* A dynamic dimension takes any size; the others have to be equal. */
static bool fits(const tensor_spec *given, const tensor_spec *declared, bool *dynamic) {
  *dynamic = false;
  if (given->type != declared->type || given->rank != declared->rank) return false;
  for (size_t i = 0; i < given->rank; ++i) {
    *dynamic = *dynamic || declared->dims[i] < 0;
    if (declared->dims[i] >= 0 && given->dims[i] != declared->dims[i]) return false;
  }
  return true;
}

static bool bind_input(size_t index, const tensor_spec *given, failure *why) {
  port *input = &inputs[index];
  const tensor_spec declared = spec_of(&input->type);
  bool dynamic;
  if (!fits(given, &declared, &dynamic)) {
    char given_text[SHAPE_TEXT_BYTES], declared_text[SHAPE_TEXT_BYTES];
    return fail(why, "input %zu is %s, the model declares %s", index, tensor_describe(given, given_text),
                tensor_describe(&declared, declared_text));
  }
  tensor_size_bytes(given, &input_bytes[index]);
  if (!dynamic) return true;
  int dims[LITERT_MAX_RANK];
  for (size_t i = 0; i < given->rank; ++i) {
    dims[i] = (int)given->dims[i];
    input->type.layout.dims[i] = dims[i];
  }
  return succeeded(api.resize_input(compiled, signature_at, input->at, dims, given->rank), "cannot resize an input", why);
}

/* The buffers are made after every input has its final shape, in the form that the CPU accelerator asks for. */
static bool make_buffers(failure *why) {
  for (size_t i = 0; i < input_total; ++i) {
    litert_requirements *requirements = NULL;
    if (!succeeded(api.input_requirements(compiled, signature_at, inputs[i].at, &requirements), "cannot size an input", why) ||
        !succeeded(api.create_buffer(environment, &inputs[i].type, requirements, &input_buffers[inputs[i].at]),
                   "cannot make an input's buffer", why)) {
      return false;
    }
  }
  litert_layout *layouts = calloc(output_total + 1, sizeof *layouts);
  if (layouts == NULL) return fail(why, "out of memory");
  if (!succeeded(api.output_layouts(compiled, signature_at, output_total, layouts, true), "cannot size the outputs", why)) {
    return false;
  }
  for (size_t i = 0; i < output_total; ++i) {
    port *output = &outputs[i];
    output->type.layout = layouts[output->at];
    litert_requirements *requirements = NULL;
    if (!succeeded(api.output_requirements(compiled, signature_at, output->at, &requirements), "cannot size an output", why) ||
        !succeeded(api.create_buffer(environment, &output->type, requirements, &output_buffers[output->at]),
                   "cannot make an output's buffer", why)) {
      return false;
    }
  }
  free(layouts);
  return true;
}

static bool bind_inputs(const tensor_spec *given, size_t count, failure *why) {
  if (count != input_total) return fail(why, "%zu inputs are given, the model takes %zu", count, input_total);
  input_buffers = calloc(input_total + 1, sizeof(*input_buffers));
  output_buffers = calloc(output_total + 1, sizeof(*output_buffers));
  input_bytes = calloc(input_total + 1, sizeof(*input_bytes));
  if (input_buffers == NULL || output_buffers == NULL || input_bytes == NULL) return fail(why, "out of memory");
  for (size_t i = 0; i < count; ++i) {
    if (!bind_input(i, &given[i], why)) return false;
  }
  return make_buffers(why);
}

static bool set_input(size_t index, const void *bytes, failure *why) {
  litert_buffer *buffer = input_buffers[inputs[index].at];
  size_t capacity = 0;
  void *memory = NULL;
  if (!succeeded(api.buffer_size(buffer, &capacity), "cannot reach an input", why)) return false;
  if (capacity < input_bytes[index]) return fail(why, "input %zu does not fit its buffer", index);
  if (!succeeded(api.lock_buffer(buffer, &memory, LITERT_LOCK_WRITE), "cannot reach an input", why)) return false;
  memcpy(memory, bytes, input_bytes[index]);
  return succeeded(api.unlock_buffer(buffer), "cannot release an input", why);
}

static bool invoke(failure *why) {
  return succeeded(api.run(compiled, signature_at, input_total, input_buffers, output_total, output_buffers),
                   "the model cannot be executed", why);
}

/* Starting also empties the profiler. */
static bool begin_profile(failure *why) { return succeeded(api.start_profiler(profiler), "cannot profile", why); }

static bool operators_of_graph(uint64_t graph, size_t *count, failure *why) {
  litert_subgraph *found = NULL;
  return succeeded(api.graph(model, (size_t)graph, &found), "cannot read the graph", why) &&
         succeeded(api.graph_operator_count(found, count), "cannot read the graph", why);
}

/* TFLite gives a call of a delegate the next free node number. It is no event of its own: its operators follow each
 * other, numbered from 0. */
static bool add_events(const litert_event *events, int count, operator_profile *profile, failure *why) {
  int32_t calls_of_delegates = 0, call = 0;
  for (int i = 0; i < count; ++i) {
    const litert_event *event = &events[i];
    const bool within_delegate = event->kind == LITERT_EVENT_WITHIN_DELEGATE;
    if (!within_delegate && event->kind != LITERT_EVENT_NODE) continue;
    size_t own_operators = 0;
    if (!operators_of_graph(event->graph, &own_operators, why)) return false;
    operator_place place = {.sequence = (int32_t)event->graph, .call = (int32_t)event->node, .step = WHOLE_CALL};
    if (within_delegate) {
      if (event->node == 0) call = (int32_t)own_operators + calls_of_delegates++;
      place.call = call;
      place.step = (int32_t)event->node;
    }
    const char *delegate = within_delegate ? "XNNPACK" : event->node < own_operators ? NULL : "";
    if (!operator_profile_add(profile, place, event->name, delegate, (int64_t)event->elapsed_us * 1000, why)) return false;
  }
  return true;
}

static bool read_profile(operator_profile *profile, failure *why) {
  int count = 0;
  if (!succeeded(api.stop_profiler(profiler), "cannot profile", why) ||
      !succeeded(api.event_count(profiler, &count), "cannot profile", why)) {
    return false;
  }
  litert_event *events = calloc((size_t)count + 1, sizeof *events);
  if (events == NULL) return fail(why, "no memory for %d events", count);
  const bool done = (count == 0 || succeeded(api.events(profiler, count, events), "cannot profile", why)) &&
                    add_events(events, count, profile, why);
  free(events);
  return done;
}

static size_t output_count(void) { return output_total; }

static bool describe_output(size_t index, tensor_spec *spec, failure *why) {
  *spec = spec_of(&outputs[index].type);
  for (size_t i = 0; i < spec->rank; ++i) {
    if (spec->dims[i] < 0) return fail(why, "output %zu depends on the data in its shape", index);
  }
  return spec->type != ELEMENT_UNKNOWN || fail(why, "output %zu has an element type that the protocol does not have", index);
}

static bool read_output(size_t index, void *bytes, size_t size_bytes, failure *why) {
  litert_buffer *buffer = output_buffers[outputs[index].at];
  size_t capacity = 0;
  void *memory = NULL;
  if (!succeeded(api.buffer_size(buffer, &capacity), "cannot reach an output", why)) return false;
  if (capacity < size_bytes) return fail(why, "output %zu has fewer bytes than its shape says", index);
  if (!succeeded(api.lock_buffer(buffer, &memory, LITERT_LOCK_READ), "cannot reach an output", why)) return false;
  memcpy(bytes, memory, size_bytes);
  return succeeded(api.unlock_buffer(buffer), "cannot release an output", why);
}

/* LiteRT cannot be asked. Its pool of N computes with N - 1 new threads and the caller, and they can be counted. */
static int threads(void) {
  return (int)(thread_count() - threads_before_load) + 1;
}

static const runner_engine engine = {
    .runner_name = "litert-native",
    .engine_name = "litert",
    .engine_version = EDGEDEPLOY_ENGINE_VERSION,
    .prepare = prepare,
    .load = load,
    .bind_inputs = bind_inputs,
    .set_input = set_input,
    .invoke = invoke,
    .begin_profile = begin_profile,
    .read_profile = read_profile,
    .output_count = output_count,
    .describe_output = describe_output,
    .read_output = read_output,
    .threads = threads,
};

int main(int argc, char **argv) { return session_main(argc, argv, &engine); }
