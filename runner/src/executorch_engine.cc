// ExecuTorch on the CPU: portable, optimized and quantized kernels, and the XNNPACK delegate.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/memory_manager.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/method_meta.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include "attention_kernels.h"
#include "engine.h"
#include "executorch_tracer.h"

// The SDK ships the thread pool's library without its header. Only non-virtual members are declared, and the object is
// only ever reached by the pointer the library returns, so its layout does not matter here. Signatures as in
// extension/threadpool/threadpool.h of ExecuTorch 1.5.1; a wrong one would not link.
namespace executorch::extension::threadpool {
class ThreadPool final {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t num_threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::MallocMemoryAllocator;
using executorch::extension::MmapDataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::MemoryManager;
using executorch::runtime::Method;
using executorch::runtime::MethodMeta;
using executorch::runtime::Program;
using executorch::runtime::Span;
using executorch::runtime::Tag;
using executorch::runtime::TensorInfo;
using executorch::runtime::TensorShapeDynamism;

// The runtime says what is wrong only in its log; its error codes are too coarse to act on. Its errors therefore become
// part of the failure's message.
std::string logged_errors;
constexpr size_t kLoggedErrorsMax = 700;

void keep_log_line(et_timestamp_t, et_pal_log_level_t level, const char* file, const char*, size_t line,
                   const char* message, size_t length) {
  if (level != kError && level != kFatal) return;
  if (logged_errors.size() < kLoggedErrorsMax) {
    if (!logged_errors.empty()) logged_errors += "; ";
    logged_errors.append(message, length);
  }
  std::fprintf(stderr, "%c %s:%zu %.*s\n", static_cast<char>(level), file, line, static_cast<int>(length), message);
}

bool fail_with_log(failure* why, const char* what, Error error) {
  const char* log = logged_errors.empty() ? "no message from the runtime" : logged_errors.c_str();
  return fail(why, "%s: %s (%s)", what, log, executorch::runtime::to_string(error));
}

struct Input {
  std::vector<uint8_t> bytes;  // in the dim order the program wants
  std::vector<TensorImpl::SizesType> sizes;
  std::vector<TensorImpl::DimOrderType> dim_order;
  std::vector<TensorImpl::StridesType> strides;
  std::unique_ptr<TensorImpl> tensor;
  size_t element_bytes = 0;
};

struct Loaded {
  // Declared in the order of dependence: destruction goes backwards.
  std::optional<MmapDataLoader> loader;
  std::optional<Program> program;
  std::vector<std::vector<uint8_t>> planned;
  std::vector<Span<uint8_t>> planned_spans;
  std::optional<HierarchicalAllocator> planned_memory;
  MallocMemoryAllocator method_memory;
  MallocMemoryAllocator temporary_memory;
  std::optional<MemoryManager> memory;
  OperatorTracer tracer;
  const char* delegate = "";  // the name of the method's delegates where all are of one kind
  std::vector<std::vector<uint8_t>> unplanned_outputs;
  std::optional<Method> method;
  std::vector<Input> inputs;
};

Loaded* loaded = nullptr;

element_type element_type_of(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return ELEMENT_FLOAT32;
    case ScalarType::Half:
      return ELEMENT_FLOAT16;
    case ScalarType::Double:
      return ELEMENT_FLOAT64;
    case ScalarType::Long:
      return ELEMENT_INT64;
    case ScalarType::Int:
      return ELEMENT_INT32;
    case ScalarType::Short:
      return ELEMENT_INT16;
    case ScalarType::Char:
      return ELEMENT_INT8;
    case ScalarType::Byte:
      return ELEMENT_UINT8;
    case ScalarType::Bool:
      return ELEMENT_BOOL;
    default:
      return ELEMENT_UNKNOWN;
  }
}

template <typename Size>
std::vector<TensorImpl::StridesType> strides_of(const std::vector<Size>& sizes, const uint8_t* dim_order) {
  std::vector<TensorImpl::StridesType> strides(sizes.size());
  TensorImpl::StridesType step = 1;
  for (size_t i = sizes.size(); i-- > 0;) {
    strides[dim_order[i]] = step;
    step *= static_cast<TensorImpl::StridesType>(sizes[dim_order[i]]);
  }
  return strides;
}

bool in_c_order(const uint8_t* dim_order, size_t rank) {
  for (size_t i = 0; i < rank; ++i) {
    if (dim_order[i] != i) return false;
  }
  return true;
}

// Walks a tensor in C order and calls `visit(position in C order, offset in its own strides)`, in elements.
template <typename Size, typename Stride, typename Visit>
void walk(const Size* sizes, const Stride* strides, size_t rank, Visit visit) {
  size_t count = 1;
  for (size_t i = 0; i < rank; ++i) count *= static_cast<size_t>(sizes[i]);
  std::vector<size_t> index(rank, 0);
  size_t offset = 0;
  for (size_t position = 0; position < count; ++position) {
    visit(position, offset);
    for (size_t i = rank; i-- > 0;) {
      offset += static_cast<size_t>(strides[i]);
      if (++index[i] < static_cast<size_t>(sizes[i])) break;
      offset -= static_cast<size_t>(strides[i]) * index[i];
      index[i] = 0;
    }
  }
}

bool prepare(int threads, failure* why) {
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(keep_log_line, __FILE__));
  executorch::runtime::runtime_init();
  auto* pool = executorch::extension::threadpool::get_threadpool();
  if (pool == nullptr) return fail(why, "ExecuTorch gives no thread pool on this device");
  // Before the program is loaded: XNNPACK takes hold of the pool when a delegate is initialised.
  if (threads > 0 && (!pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads)) ||
                      pool->get_thread_count() != static_cast<size_t>(threads))) {
    return fail(why, "ExecuTorch's thread pool has %zu threads and cannot be set to %d", pool->get_thread_count(),
                threads);
  }
  return edgedeploy::register_attention_kernels() ||
         fail(why, "ExecuTorch takes no further kernels; there is no room for those of language models");
}

int threads() {
  return static_cast<int>(executorch::extension::threadpool::get_threadpool()->get_thread_count());
}

// `wanted`; without a wish `forward` where there is one, else the only method. The name returned lives in the program.
const char* choose_method(const Program& program, const char* wanted, failure* why) {
  const bool only = wanted == nullptr && program.num_methods() == 1;
  std::string names;
  for (size_t i = 0; i < program.num_methods(); ++i) {
    auto name = program.get_method_name(i);
    if (!name.ok()) continue;
    if (only || std::strcmp(*name, wanted == nullptr ? "forward" : wanted) == 0) return *name;
    names += (names.empty() ? "" : ", ") + std::string(*name);
  }
  fail(why, "the program has no method '%s'; it has: %s", wanted == nullptr ? "forward" : wanted, names.c_str());
  return nullptr;
}

bool plan_memory(const MethodMeta& meta, failure* why) {
  for (size_t i = 0; i < meta.num_memory_planned_buffers(); ++i) {
    auto size = meta.memory_planned_buffer_size(i);
    if (!size.ok()) return fail_with_log(why, "the program's memory plan cannot be read", size.error());
    loaded->planned.emplace_back(static_cast<size_t>(*size));
  }
  for (auto& buffer : loaded->planned) loaded->planned_spans.emplace_back(buffer.data(), buffer.size());
  loaded->planned_memory.emplace(
      Span<Span<uint8_t>>(loaded->planned_spans.data(), loaded->planned_spans.size()));
  loaded->memory.emplace(&loaded->method_memory, &*loaded->planned_memory, &loaded->temporary_memory);
  return true;
}

// Outputs that the exporter left out of the memory plan need a buffer from us.
bool provide_outputs(const MethodMeta& meta, failure* why) {
  loaded->unplanned_outputs.resize(meta.num_outputs());
  for (size_t i = 0; i < meta.num_outputs(); ++i) {
    auto tag = meta.output_tag(i);
    if (!tag.ok() || *tag != Tag::Tensor) {
      return fail(why, "output %zu of the model is not a tensor; return tensors only", i);
    }
    auto info = meta.output_tensor_meta(i);
    if (!info.ok()) return fail_with_log(why, "the program's outputs cannot be read", info.error());
    if (info->is_memory_planned()) continue;
    auto& buffer = loaded->unplanned_outputs[i];
    buffer.resize(info->nbytes());
    // An output that is a constant or an input refuses a buffer, and needs none.
    (void)loaded->method->set_output_data_ptr(buffer.data(), buffer.size(), i);
  }
  return true;
}

// One entry per delegate of the method, not per kind: the tracer does not tell which of them is called.
const char* delegate_of(const MethodMeta& meta) {
  const char* only = "";
  for (size_t i = 0; i < meta.num_backends(); ++i) {
    auto name = meta.get_backend_name(i);
    if (!name.ok() || (i > 0 && std::strcmp(*name, only) != 0)) return "";
    only = *name;
  }
  return only;
}

bool load(const char* model, const char* method_name, bool profiled, failure* why) {
  loaded = new Loaded();
  auto loader = MmapDataLoader::from(model, MmapDataLoader::MlockConfig::NoMlock);
  if (!loader.ok()) return fail_with_log(why, "cannot open the program", loader.error());
  loaded->loader.emplace(std::move(*loader));
  auto program = Program::load(&*loaded->loader, Program::Verification::InternalConsistency);
  if (!program.ok()) return fail_with_log(why, "not a usable ExecuTorch program", program.error());
  loaded->program.emplace(std::move(*program));
  const char* name = choose_method(*loaded->program, method_name, why);
  if (name == nullptr) return false;
  auto meta = loaded->program->method_meta(name);
  if (!meta.ok()) return fail_with_log(why, "the method cannot be read", meta.error());
  if (!plan_memory(*meta, why)) return false;
  loaded->delegate = delegate_of(*meta);
  auto method = loaded->program->load_method(name, &*loaded->memory, profiled ? &loaded->tracer : nullptr);
  if (!method.ok()) return fail_with_log(why, "the method cannot be loaded", method.error());
  loaded->method.emplace(std::move(*method));
  return provide_outputs(*meta, why);
}

// Whether a tensor of the caller may go where the program declares `info`. A static input has to be equal; of one with
// dynamic dimensions the program keeps the upper bounds only.
bool fits(const tensor_spec& given, const tensor_spec& declared, bool dynamic) {
  if (!dynamic) return tensor_same(&given, &declared);
  if (given.type != declared.type || given.rank != declared.rank) return false;
  for (size_t i = 0; i < given.rank; ++i) {
    if (given.dims[i] > declared.dims[i]) return false;
  }
  return true;
}

bool is_dynamic(size_t index) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  // The metadata that replaces this call does not carry the dynamism.
  const EValue& value = loaded->method->get_input(index);
#pragma GCC diagnostic pop
  return value.isTensor() &&
         value.toTensor().unsafeGetTensorImpl()->shape_dynamism() != TensorShapeDynamism::STATIC;
}

bool bind_input(size_t index, const tensor_spec& given, const MethodMeta& meta, failure* why) {
  auto tag = meta.input_tag(index);
  if (!tag.ok() || *tag != Tag::Tensor) {
    return fail(why, "input %zu of the model is not a tensor; make it one, or a constant, before the export", index);
  }
  auto info = meta.input_tensor_meta(index);
  if (!info.ok()) return fail_with_log(why, "the program's inputs cannot be read", info.error());
  tensor_spec declared{};
  declared.type = element_type_of(info->scalar_type());
  declared.rank = info->sizes().size();
  if (declared.rank > TENSOR_MAX_RANK) return fail(why, "input %zu has too many dimensions", index);
  for (size_t i = 0; i < declared.rank; ++i) declared.dims[i] = info->sizes()[i];
  const bool dynamic = is_dynamic(index);
  if (!fits(given, declared, dynamic)) {
    char given_text[SHAPE_TEXT_BYTES], declared_text[SHAPE_TEXT_BYTES];
    return fail(why, "input %zu is %s, the model declares %s%s", index, tensor_describe(&given, given_text),
                dynamic ? "at most " : "", tensor_describe(&declared, declared_text));
  }
  Input& input = loaded->inputs[index];
  input = Input{};  // a model of dynamic shapes is bound anew for each
  size_t size_bytes = 0;
  tensor_size_bytes(&given, &size_bytes);
  input.element_bytes = element_type_size_bytes(given.type);
  input.bytes.resize(size_bytes);
  for (size_t i = 0; i < given.rank; ++i) {
    input.sizes.push_back(static_cast<TensorImpl::SizesType>(given.dims[i]));
    input.dim_order.push_back(info->dim_order()[i]);
  }
  input.strides = strides_of(input.sizes, input.dim_order.data());
  input.tensor = std::make_unique<TensorImpl>(info->scalar_type(), static_cast<ssize_t>(given.rank),
                                              input.sizes.data(), input.bytes.data(), input.dim_order.data(),
                                              input.strides.data());
  return true;
}

bool bind_inputs(const tensor_spec* inputs, size_t count, failure* why) {
  const MethodMeta meta = loaded->method->method_meta();
  if (meta.num_inputs() != count) {
    return fail(why, "%zu inputs are given, the model takes %zu", count, meta.num_inputs());
  }
  loaded->inputs.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (!bind_input(i, inputs[i], meta, why)) return false;
  }
  return true;
}

bool set_input(size_t index, const void* bytes, failure* why) {
  Input& input = loaded->inputs[index];
  if (in_c_order(input.dim_order.data(), input.dim_order.size())) {
    std::memcpy(input.bytes.data(), bytes, input.bytes.size());
  } else {
    const auto* from = static_cast<const uint8_t*>(bytes);
    const size_t element = input.element_bytes;
    walk(input.sizes.data(), input.strides.data(), input.sizes.size(), [&](size_t position, size_t offset) {
      std::memcpy(input.bytes.data() + offset * element, from + position * element, element);
    });
  }
  const Error error = loaded->method->set_input(EValue(Tensor(input.tensor.get())), index);
  if (error == Error::Ok) return true;
  char what[64];
  std::snprintf(what, sizeof what, "input %zu is refused", index);
  return fail_with_log(why, what, error);
}

bool invoke(failure* why) {
  const Error error = loaded->method->execute();
  return error == Error::Ok || fail_with_log(why, "the model cannot be executed", error);
}

bool begin_profile(failure*) {
  loaded->tracer.clear();
  return true;
}

bool read_profile(operator_profile* profile, failure* why) {
  return loaded->tracer.read(profile, loaded->delegate, why);
}

size_t output_count() { return loaded->method->outputs_size(); }

bool describe_output(size_t index, tensor_spec* spec, failure* why) {
  const EValue& value = loaded->method->get_output(index);
  if (!value.isTensor()) return fail(why, "output %zu of the model is not a tensor", index);
  const Tensor tensor = value.toTensor();
  *spec = tensor_spec{};
  spec->type = element_type_of(tensor.scalar_type());
  spec->rank = static_cast<size_t>(tensor.dim());
  if (spec->type == ELEMENT_UNKNOWN || spec->rank > TENSOR_MAX_RANK) {
    return fail(why, "output %zu has an element type or a rank that the protocol does not have", index);
  }
  for (size_t i = 0; i < spec->rank; ++i) spec->dims[i] = tensor.size(static_cast<ssize_t>(i));
  return true;
}

bool read_output(size_t index, void* bytes, size_t size_bytes, failure* why) {
  const Tensor tensor = loaded->method->get_output(index).toTensor();
  const auto* from = static_cast<const uint8_t*>(tensor.const_data_ptr());
  if (tensor.nbytes() != size_bytes || (from == nullptr && size_bytes > 0)) {
    return fail(why, "output %zu has no data", index);
  }
  const size_t rank = static_cast<size_t>(tensor.dim());
  if (in_c_order(tensor.dim_order().data(), rank)) {
    if (size_bytes > 0) std::memcpy(bytes, from, size_bytes);
    return true;
  }
  auto* to = static_cast<uint8_t*>(bytes);
  const size_t element = static_cast<size_t>(tensor.element_size());
  walk(tensor.sizes().data(), tensor.strides().data(), rank, [&](size_t position, size_t offset) {
    std::memcpy(to + position * element, from + offset * element, element);
  });
  return true;
}

const runner_engine engine = {
    "executorch-native", "executorch",  EDGEDEPLOY_ENGINE_VERSION, prepare,         load,        bind_inputs, set_input,
    invoke,              begin_profile, read_profile,              output_count,    describe_output, read_output, threads,
};

}  // namespace

int main(int argc, char** argv) { return session_main(argc, argv, &engine); }
