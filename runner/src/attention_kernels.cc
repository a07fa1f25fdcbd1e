// llama::update_cache and llama::custom_sdpa for float32 on the CPU, with the names, arguments and layouts of ExecuTorch 1.5.1
// (extension/llm/custom_ops), so that one file runs here and in ExecuTorch's own language model runners. In the wheel their
// kernels come only in a library that needs PyTorch.
//
// Tensors are [batch 1, sequence, heads, head size]. Several query heads may share a head of the cache (grouped-query
// attention). Work grows with the tokens in the cache, not with its size.

#include "attention_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/operator_registry.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

namespace edgedeploy {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;

// Keys are looked at in blocks, so that their scores stay in the first-level cache.
constexpr int64_t kBlock = 64;
// A fixed number of sums side by side: the compiler can keep them in vector registers without reordering additions.
constexpr int64_t kLanes = 16;

bool is_float_in_c_order(const Tensor& tensor) {
  if (tensor.scalar_type() != ScalarType::Float || tensor.dim() != 4 || tensor.size(0) != 1) return false;
  for (ssize_t i = 0; i < 4; ++i) {
    if (tensor.dim_order()[static_cast<size_t>(i)] != i) return false;
  }
  return true;
}

Tensor& update_cache(KernelRuntimeContext& context, const Tensor& value, Tensor& cache, const int64_t start, Tensor& out) {
  const bool fits = is_float_in_c_order(value) && is_float_in_c_order(cache) && value.size(2) == cache.size(2) &&
                    value.size(3) == cache.size(3) && start >= 0 && start + value.size(1) <= cache.size(1);
  ET_KERNEL_CHECK_MSG(context, fits, InvalidArgument, out,
                      "update_cache: the tokens from position %lld do not fit into the cache", static_cast<long long>(start));
  const size_t token = static_cast<size_t>(cache.size(2) * cache.size(3));
  std::memcpy(cache.mutable_data_ptr<float>() + static_cast<size_t>(start) * token, value.const_data_ptr<float>(),
              value.nbytes());
  return out;
}

float dot(const float* a, const float* b, int64_t count) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (int64_t lane = 0; i < count; ++i, ++lane) sums[lane] += a[i] * b[i];
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

struct Attention {
  const float* query;
  const float* keys;
  const float* values;
  float* out;
  int64_t query_heads, cache_heads, head_size, start;
  bool causal;
  int64_t length;  // tokens in the cache, when not causal
  float scale;
};

// One query of one head: softmax(q·K·scale)·V, block by block with a running maximum (Milakov and Gimelshein, 2018,
// "Online normalizer calculation for softmax"), so that no row of scores is ever stored.
void attend(const Attention& job, int64_t position, int64_t head) {
  const int64_t stride = job.cache_heads * job.head_size;
  const int64_t cache_head = head / (job.query_heads / job.cache_heads);
  const float* query = job.query + (position * job.query_heads + head) * job.head_size;
  const float* keys = job.keys + cache_head * job.head_size;
  const float* values = job.values + cache_head * job.head_size;
  float* out = job.out + (position * job.query_heads + head) * job.head_size;
  const int64_t visible = job.causal ? job.start + position + 1 : job.length;
  float scores[kBlock];
  float highest = -INFINITY, total = 0;
  std::fill_n(out, job.head_size, 0.0f);
  for (int64_t first = 0; first < visible; first += kBlock) {
    const int64_t count = std::min(kBlock, visible - first);
    float block_highest = highest;
    for (int64_t i = 0; i < count; ++i) {
      scores[i] = dot(query, keys + (first + i) * stride, job.head_size) * job.scale;
      block_highest = std::max(block_highest, scores[i]);
    }
    const float shrink = std::exp(highest - block_highest);
    highest = block_highest;
    total *= shrink;
    for (int64_t d = 0; d < job.head_size; ++d) out[d] *= shrink;
    for (int64_t i = 0; i < count; ++i) {
      const float weight = std::exp(scores[i] - highest);
      const float* value = values + (first + i) * stride;
      total += weight;
      for (int64_t d = 0; d < job.head_size; ++d) out[d] += weight * value[d];
    }
  }
  for (int64_t d = 0; d < job.head_size; ++d) out[d] /= total;
}

Tensor& custom_sdpa(KernelRuntimeContext& context, const Tensor& query, const Tensor& keys, const Tensor& values,
                    const int64_t start, const std::optional<Tensor>& mask, const double dropout, const bool causal,
                    const std::optional<double> scale, Tensor& out) {
  ET_KERNEL_CHECK_MSG(context, executorch::runtime::resize_tensor(out, query.sizes()) == Error::Ok, InvalidArgument, out,
                      "custom_sdpa: the output cannot be sized");
  const bool plain = !mask.has_value() && dropout == 0.0;
  ET_KERNEL_CHECK_MSG(context, plain, NotSupported, out, "custom_sdpa: masks and dropout are not supported by this runner");
  const bool fits = is_float_in_c_order(query) && is_float_in_c_order(keys) && is_float_in_c_order(values) &&
                    is_float_in_c_order(out) && keys.size(1) == values.size(1) && keys.size(2) == values.size(2) &&
                    keys.size(3) == query.size(3) && values.size(3) == query.size(3) && query.size(2) % keys.size(2) == 0 &&
                    start >= 0 && start + query.size(1) <= keys.size(1);
  ET_KERNEL_CHECK_MSG(context, fits, InvalidArgument, out, "custom_sdpa: query and cache do not fit each other");
  const Attention job{query.const_data_ptr<float>(),
                      keys.const_data_ptr<float>(),
                      values.const_data_ptr<float>(),
                      out.mutable_data_ptr<float>(),
                      query.size(2),
                      keys.size(2),
                      query.size(3),
                      start,
                      causal,
                      start + query.size(1),
                      static_cast<float>(scale.value_or(1.0 / std::sqrt(static_cast<double>(query.size(3)))))};
  // Heads of one position lie side by side, so a thread works on queries that look at the same keys.
  const bool done = executorch::extension::parallel_for(0, query.size(1) * job.query_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) attend(job, i / job.query_heads, i % job.query_heads);
  });
  ET_KERNEL_CHECK_MSG(context, done, Internal, out, "custom_sdpa: the thread pool failed");
  return out;
}

constexpr char kUpdateCache[] = "llama::update_cache.out";
constexpr char kCustomSdpa[] = "llama::custom_sdpa.out";

template <typename Function>
bool register_one(const char* name, Function function) {
  const Error error = executorch::runtime::register_kernel(executorch::extension::make_boxed_kernel(name, function));
  // An Android SDK that somebody built may bring its own.
  return error == Error::Ok || error == Error::RegistrationAlreadyRegistered;
}

}  // namespace

bool register_attention_kernels() {
  return register_one(kUpdateCache, EXECUTORCH_FN(update_cache, kUpdateCache)) &&
         register_one(kCustomSdpa, EXECUTORCH_FN(custom_sdpa, kCustomSdpa));
}

}  // namespace edgedeploy
