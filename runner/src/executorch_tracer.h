// What ExecuTorch tells while it executes a method: which operator ran, where, and for how long.
#ifndef EDGEDEPLOY_EXECUTORCH_TRACER_H
#define EDGEDEPLOY_EXECUTORCH_TRACER_H

#include <string>
#include <vector>

#include <executorch/runtime/core/event_tracer.h>

#include "operator_profile.h"

// Keeps the events of one execution in memory. (The SDK's own tracer, ETDump, writes a file that only its Python reads.)
class OperatorTracer final : public executorch::runtime::EventTracer {
 public:
  void clear();
  // `delegate` names the delegates of the method where they are all of one kind, and is empty otherwise.
  bool read(operator_profile* profile, const char* delegate, failure* why) const;

  void create_event_block(const char* name) override;
  executorch::runtime::EventTracerEntry start_profiling(const char* name, executorch::runtime::ChainID chain,
                                                        executorch::runtime::DebugHandle instruction) override;
  void end_profiling(executorch::runtime::EventTracerEntry entry) override;
  executorch::runtime::EventTracerEntry start_profiling_delegate(
      const char* name, executorch::runtime::DelegateDebugIntId id) override;
  void end_profiling_delegate(executorch::runtime::EventTracerEntry entry, const void* metadata,
                              size_t metadata_bytes) override;
  void log_profiling_delegate(const char* name, executorch::runtime::DelegateDebugIntId id,
                              et_timestamp_t began_ticks, et_timestamp_t ended_ticks, const void* metadata,
                              size_t metadata_bytes) override;

  // Memory and values are not what is asked here.
  void track_allocation(executorch::runtime::AllocatorID, size_t) override {}
  executorch::runtime::AllocatorID track_allocator(const char*) override { return 0; }
  executorch::runtime::Result<bool> log_evalue(const executorch::runtime::EValue&,
                                               executorch::runtime::LoggedEValueType) override {
    return false;
  }
  using DelegateId = executorch::runtime::DelegateDebugIntId;
  using Tensor = executorch::aten::Tensor;
  using Logged = executorch::runtime::Result<bool>;
  Logged log_intermediate_output_delegate(const char*, DelegateId, const Tensor&) override { return false; }
  Logged log_intermediate_output_delegate(const char*, DelegateId,
                                          const executorch::runtime::ArrayRef<Tensor>) override {
    return false;
  }
  Logged log_intermediate_output_delegate(const char*, DelegateId, const int&) override { return false; }
  Logged log_intermediate_output_delegate(const char*, DelegateId, const bool&) override { return false; }
  Logged log_intermediate_output_delegate(const char*, DelegateId, const double&) override { return false; }
  void set_delegation_intermediate_output_filter(executorch::runtime::EventTracerFilterBase*) override {}

 private:
  struct Event {
    std::string name;
    operator_place place;
    bool delegated;
    int64_t ns;
  };
  executorch::runtime::EventTracerEntry begin(const char* name, bool delegated, int32_t step);
  void end(const executorch::runtime::EventTracerEntry& entry);
  int32_t next_step() const;

  std::vector<Event> events_;
};

#endif
