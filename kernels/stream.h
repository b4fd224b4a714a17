#pragma once

#include <cstdint>

namespace strait::kernels {

/// `plan` runs every check and every record but no arithmetic: a dry run without data or device.
enum class Device : std::uint8_t { cpu, cuda, plan };

/// Work done by one launch, in floating-point operations (2 per multiply-add) and bytes moved at
/// least (each input read once, each output written once). `workspace`: device memory that the CUDA
/// backend takes meanwhile for sums of its own, where it may be more than kWorkspaceBytes.
struct Work {
  double flops = 0;
  double bytes = 0;
  double workspace = 0;
};

struct Gemm;

/// Sees every launch on a stream it is attached to (FLOP counts, profiles). Not owned by Stream.
class LaunchObserver {
 public:
  virtual ~LaunchObserver() = default;
  virtual void on_launch(const char* op, const Work& work) = 0;
  /// Before on_launch when the op is a matrix product.
  virtual void on_product(const Gemm&) {}
};

/// Where an op runs. `handle` is a cudaStream_t on cuda, unused elsewhere. Copyable, owns nothing.
struct Stream {
  Device device = Device::cpu;
  void* handle = nullptr;
  LaunchObserver* observer = nullptr;
};

}  // namespace strait::kernels
