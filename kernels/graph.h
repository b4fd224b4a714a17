#pragma once

#include <functional>

#include "kernels/stream.h"

namespace strait::kernels {

/// A sequence of launches that is run again and again with the same ops on the same addresses. On
/// cuda the first run enqueues them one by one (workspaces grow then), the second captures them as
/// a CUDA graph, later runs launch that graph with one call. Elsewhere, and on a stream with an
/// observer (which must see every launch), each run enqueues anew.
class Repeated {
 public:
  Repeated() = default;
  ~Repeated();
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;

  /// Precondition: `enqueue` only launches ops and copies inside device memory on `stream`; host
  /// state it changes is the same after every run. Throws what enqueue throws, and DeviceError.
  void run(const Stream& stream, const std::function<void()>& enqueue);

  /// True once runs are launches of a graph.
  bool captured() const { return graph_ != nullptr; }

 private:
  bool warm_ = false;
  void* graph_ = nullptr;
};

}  // namespace strait::kernels
