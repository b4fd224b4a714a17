#pragma once

#include "core/arena.h"
#include "core/tensor.h"

namespace strait::parallel {

/// Adds up, on the device, how long a stream stands in collectives: what they take and the wait for
/// other ranks, as far as it is not hidden behind work of the same stream. Groups of one rank take
/// no time.
class CommClock {
 public:
  /// Takes memory that outlives steps. Call once while the arena plans, once after it allocated.
  void bind(core::Arena& inputs);
  /// Begins a step on `stream`: nothing has passed yet. Other streams are not timed.
  void start(const Stream& stream);
  /// Around a collective, or around a wait for one that was enqueued elsewhere.
  void enter(const Stream& stream) const;
  void leave(const Stream& stream) const;
  /// Copies what has passed since start to `total` [1] i64, nanoseconds.
  void read(const Tensor& total, const Stream& stream) const;

 private:
  bool times(const Stream& stream) const;

  Tensor last_, ignored_, total_;  // [1] i64, nanoseconds
  void* handle_ = nullptr;         // of the stream that is timed
  Device device_ = Device::plan;
};

}  // namespace strait::parallel
