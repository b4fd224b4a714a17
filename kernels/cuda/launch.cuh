#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/cuda/context.h"
#include "kernels/stream.h"
#include "kernels/tensor.h"

// The one place that launches kernels.
namespace strait::kernels::cuda {

/// What a launch error reports: the op and up to three of its tensors.
struct Call {
  const char* op;
  const Stream& stream;
  ConstTensor tensors[3] = {};
};

struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;  // dynamic shared memory, any size the device has
};

/// Throws a DeviceError that tells the call, its tensors' shapes and the grid.
[[noreturn]] void throw_launch_error(const Call& call, const Grid& grid, cudaError_t status);

/// Enqueues kernel(args...) on the call's stream; an empty grid is no work. The error reported may
/// stem from an earlier launch that failed while running. `overlaps`: see launch_overlapping.
template <class... Params, class... Args>
void launch_one(const Call& call, const Grid& grid, bool overlaps, void (*kernel)(Params...),
                Args&&... args) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  // A block may use 48 KiB unasked, static shared memory included; no kernel here has 16 KiB of it.
  constexpr std::size_t kWithoutOptIn = 32 << 10;
  cudaError_t status = cudaSuccess;
  if (grid.shared_bytes > kWithoutOptIn) {
    status = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(grid.shared_bytes));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = handle_of(call.stream);
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = overlaps ? 1 : 0;
  if (status == cudaSuccess) {
    status = cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...);
  }
  if (status != cudaSuccess) throw_launch_error(call, grid, status);
}

template <class... Params, class... Args>
void launch_kernel(const Call& call, const Grid& grid, void (*kernel)(Params...), Args&&... args) {
  launch_one(call, grid, false, kernel, std::forward<Args>(args)...);
}

/// The same for a kernel that begins once all blocks of the launch before it have allowed that
/// (griddepcontrol.launch_dependents) or have ended. It sees that launch's writes only after
/// griddepcontrol.wait, which it must do for launches behind it to see them, too.
template <class... Params, class... Args>
void launch_overlapping(const Call& call, const Grid& grid, void (*kernel)(Params...),
                        Args&&... args) {
  launch_one(call, grid, true, kernel, std::forward<Args>(args)...);
}

/// Number of pieces of `size` that cover `total`.
inline std::int64_t ceil_div(std::int64_t total, std::int64_t size) {
  return (total + size - 1) / size;
}

inline unsigned blocks_for(std::int64_t total, std::int64_t size) {
  return static_cast<unsigned>(ceil_div(total, size));
}

}  // namespace strait::kernels::cuda
