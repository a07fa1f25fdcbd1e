// bare_executorch forward|execute MODEL INPUT WARMUP ITERATIONS DIM...: a .pte with one float32 input, one thread, nothing but
// Module::forward, or Method::execute, which is what a forward is without the copies of its input and output values.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include "bare_loop.h"

// As in runner/src/executorch_engine.cc: the SDK has the library without its header.
namespace executorch::extension::threadpool {
class ThreadPool final {
 public:
  bool _unsafe_reset_threadpool(uint32_t num_threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

int main(int argc, char** argv) {
  using executorch::extension::Module;
  check(argc > 6, "bare_executorch forward|execute MODEL INPUT WARMUP ITERATIONS DIM...");
  const bool whole = std::strcmp(argv[1], "forward") == 0;
  check(executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(1), "threads");
  std::vector<executorch::aten::SizesType> sizes;
  size_t count = 1;
  for (int i = 6; i < argc; ++i) {
    sizes.push_back(static_cast<executorch::aten::SizesType>(std::atoi(argv[i])));
    count *= static_cast<size_t>(sizes.back());
  }
  std::vector<float> values(count);
  std::FILE* file = std::fopen(argv[3], "rb");
  check(file != nullptr && std::fread(values.data(), sizeof(float), count, file) == count, argv[3]);
  auto input = executorch::extension::from_blob(values.data(), sizes);
  Module module(argv[2], Module::LoadMode::Mmap);
  check(module.load_forward() == executorch::runtime::Error::Ok, "load");

  check(module.set_inputs("forward", {input}) == executorch::runtime::Error::Ok, "input");
  executorch::runtime::Method* method = *module.method("forward");
  const auto once = [&] { return whole ? module.forward(input).ok() : method->execute() == executorch::runtime::Error::Ok; };

  const size_t warmup = std::strtoul(argv[4], nullptr, 10), iterations = std::strtoul(argv[5], nullptr, 10);
  std::vector<int64_t> ns(iterations, -1);
  for (size_t i = 0; i < warmup; ++i) check(once(), "forward");
  for (size_t i = 0; i < iterations; ++i) {
    const int64_t began_ns = now_ns();
    const bool done = once();
    ns[i] = now_ns() - began_ns;
    check(done, "forward");
  }
  print_samples(ns.data(), iterations);
  std::fflush(stdout);
  std::_Exit(0);
}
