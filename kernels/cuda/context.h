#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "kernels/cuda/gemm_plan.h"
#include "kernels/cuda/gemm_table.h"
#include "kernels/memory.h"
#include "kernels/stream.h"

namespace strait::kernels::cuda {

/// Throws DeviceError "<what>: <cuda's words>" unless `status` is success.
void check_cuda(cudaError_t status, const char* what);

/// Of the current device, in the driver's words: "NVIDIA H100 80GB HBM3".
std::string device_name();

inline cudaStream_t handle_of(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

/// Library handles, GEMM plans and workspaces of one device in this process. The only state of the
/// backend that outlives a launch; it never changes a result. Lives until the process ends,
/// because the runtime may be gone before static destructors run.
class Context {
 public:
  /// First size of a stream's workspace: also what cuBLASLt may use for one product.
  static constexpr std::size_t kWorkspace = kWorkspaceBytes;
  static constexpr std::size_t kZeros = 16 << 10;

  /// Of the current device, made at first use.
  static Context& current();

  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// At least `bytes` of device memory (aligned to 256) for the launches of one op on `stream`;
  /// the next op on the stream gets the same memory. Grows outside of graph capture only, so run a
  /// step once before capturing it: DeviceError otherwise. Blocks that were outgrown stay, since
  /// launches and graphs may still use them.
  void* workspace(const Stream& stream, std::size_t bytes);

  /// kZeros bytes of zeros in device memory for counters of one launch on `stream`, which must
  /// leave zeros behind. Made at first use, outside of graph capture, with the stream's workspace.
  void* zeros(const Stream& stream);

  /// The plan of a product, made at first use.
  GemmPlan& plan(const GemmShape& shape);
  /// How many products got their algorithms from where, in words; empty before the first.
  std::string gemm_summary() const;
  cublasLtHandle_t cublas() const { return cublas_; }

  unsigned multiprocessors() const { return multiprocessors_; }
  /// Whether the device runs the kernels of sm90/ and this build has them.
  bool hopper() const { return hopper_; }

 private:
  struct Workspace {
    void* data = nullptr;
    std::size_t bytes = 0;
    void* zeros = nullptr;
  };

  Context();
  /// A new block of device memory for launches on `stream`.
  static void* grow(const Stream& stream, std::size_t bytes);

  mutable std::mutex mutex_;
  cublasLtHandle_t cublas_ = nullptr;
  unsigned multiprocessors_ = 0;
  bool hopper_ = false;
  std::map<cudaStream_t, Workspace> workspaces_;
  GemmTable table_;
  std::map<GemmShape, GemmPlan> plans_;
};

/// Lays out pieces of a workspace: take() every piece, then resolve them against its base.
class Layout {
 public:
  /// Offset of `bytes` more bytes, aligned to 256.
  std::size_t take(std::size_t bytes) {
    const std::size_t offset = bytes_;
    bytes_ += (bytes + 255) / 256 * 256;
    return offset;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

template <class T>
T* at(void* base, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}

}  // namespace strait::kernels::cuda
