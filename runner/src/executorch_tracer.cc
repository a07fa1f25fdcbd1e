#include "executorch_tracer.h"

#include <cstring>

#include <executorch/runtime/platform/platform.h>

#include "process_facts.h"

using executorch::runtime::ChainID;
using executorch::runtime::DebugHandle;
using executorch::runtime::DelegateDebugIntId;
using executorch::runtime::EventTracerEntry;
using executorch::runtime::kUnsetChainId;

namespace {

// Events of the runtime itself, by the names it gives them (runtime/executor/method.cpp).
constexpr const char* kDelegateCall = "DELEGATE_CALL";
constexpr const char* kOperatorCall = "OPERATOR_CALL";
// Around a kernel, inside of an operator call; the rest is the operator's name.
constexpr const char* kKernelPrefix = "native_call_";
// An event that is not reported. Entries carry the position of their event as their id.
constexpr int64_t kNoEvent = -1;

EventTracerEntry entry_of(int64_t event) {
  EventTracerEntry entry{};
  entry.event_id = event;
  entry.start_time = static_cast<et_timestamp_t>(monotonic_now_ns());
  return entry;
}

}  // namespace

void OperatorTracer::clear() { events_.clear(); }

bool OperatorTracer::read(operator_profile* profile, const char* delegate, failure* why) const {
  for (const Event& event : events_) {
    const char* by = event.delegated ? delegate : nullptr;
    if (!operator_profile_add(profile, event.place, event.name.c_str(), by, event.ns, why)) return false;
  }
  return true;
}

void OperatorTracer::create_event_block(const char*) {}

// The runtime sets chain and instruction before each instruction, and unsets them after it: what comes in between is
// about that instruction, and what comes outside is about the method as a whole.
EventTracerEntry OperatorTracer::begin(const char* name, bool delegated, int32_t step) {
  if (chain_id_ == kUnsetChainId) return entry_of(kNoEvent);
  events_.push_back({name, {chain_id_, static_cast<int32_t>(debug_handle_), step}, delegated, 0});
  return entry_of(static_cast<int64_t>(events_.size()) - 1);
}

void OperatorTracer::end(const EventTracerEntry& entry) {
  if (entry.event_id == kNoEvent) return;
  events_[static_cast<size_t>(entry.event_id)].ns = monotonic_now_ns() - static_cast<int64_t>(entry.start_time);
}

EventTracerEntry OperatorTracer::start_profiling(const char* name, ChainID, DebugHandle) {
  if (std::strncmp(name, kKernelPrefix, std::strlen(kKernelPrefix)) == 0) {
    // The call around it is the event, and until now has no better name than what it is.
    if (chain_id_ != kUnsetChainId && !events_.empty() && events_.back().name == kOperatorCall) {
      events_.back().name = name + std::strlen(kKernelPrefix);
    }
    return entry_of(kNoEvent);
  }
  return begin(name, std::strcmp(name, kDelegateCall) == 0, WHOLE_CALL);
}

void OperatorTracer::end_profiling(EventTracerEntry entry) { end(entry); }

// Steps are counted from the call they belong to.
int32_t OperatorTracer::next_step() const { return events_.empty() ? 0 : events_.back().place.step + 1; }

EventTracerEntry OperatorTracer::start_profiling_delegate(const char* name, DelegateDebugIntId id) {
  return begin(name != nullptr ? name : std::to_string(id).c_str(), true, next_step());
}

void OperatorTracer::end_profiling_delegate(EventTracerEntry entry, const void*, size_t) { end(entry); }

void OperatorTracer::log_profiling_delegate(const char* name, DelegateDebugIntId id, et_timestamp_t began_ticks,
                                            et_timestamp_t ended_ticks, const void*, size_t) {
  const auto ratio = executorch::runtime::pal_ticks_to_ns_multiplier();
  const EventTracerEntry entry = begin(name != nullptr ? name : std::to_string(id).c_str(), true, next_step());
  if (entry.event_id == kNoEvent) return;
  const auto ticks = static_cast<int64_t>(ended_ticks - began_ticks);
  events_.back().ns = ticks * static_cast<int64_t>(ratio.numerator) / static_cast<int64_t>(ratio.denominator);
}
