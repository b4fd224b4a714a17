#pragma once

#include <array>

#include "kernels/async.h"
#include "train/engine.h"

namespace strait::train {

/// Brings the results of steps to the host while the next step runs: everything in the engine's
/// step state, in one copy. Two steps at most are on their way. Borrows the engine, which was
/// allocated.
class Readback {
 public:
  explicit Readback(Engine& engine);

  /// Enqueues the copy behind what the stream holds so far. `step` from 1.
  void enqueue(std::int64_t step);
  /// Waits for the copy of `step` and makes it the one that at() reads.
  void wait(std::int64_t step);

  /// Value i of a tensor that was taken from the step state.
  template <class T>
  T at(const ConstTensor& tensor, std::int64_t i = 0) const {
    const auto offset = static_cast<const char*>(tensor.data) -
                        static_cast<const char*>(engine_.ctx().state.block().data);
    return reinterpret_cast<const T*>(host_[current_].as<char>() + offset)[i];
  }

 private:
  Engine& engine_;
  std::array<kernels::HostBuffer, 2> host_;
  std::array<kernels::Event, 2> arrived_;
  std::size_t current_ = 0;
};

}  // namespace strait::train
