#include "kernels/cuda/peer.h"

#include <cuda.h>

#include <cstring>

#include "kernels/cuda/context.h"
#include "kernels/device_error.h"

namespace strait::kernels::cuda {
namespace {

using BatchMemOp = decltype(&cuStreamBatchMemOp);

/// The driver's function, found through the runtime so that libcuda is not linked; null where it
/// has none.
BatchMemOp batch_mem_op() noexcept {
  static const BatchMemOp function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuStreamBatchMemOp", &found, 12000,
                                                                cudaEnableDefault, &result);
    const bool there = status == cudaSuccess && result == cudaDriverEntryPointSuccess;
    return there ? reinterpret_cast<BatchMemOp>(found) : nullptr;
  }();
  return function;
}

}  // namespace

std::string export_block(void* block) noexcept {
  cudaIpcMemHandle_t handle;
  if (batch_mem_op() && cudaIpcGetMemHandle(&handle, block) == cudaSuccess)
    return {handle.reserved, sizeof handle.reserved};
  cudaGetLastError();  // told by the empty name
  return {};
}

void* open_block(const std::string& exported) noexcept {
  cudaIpcMemHandle_t handle;
  if (exported.size() != sizeof handle.reserved) return nullptr;
  std::memcpy(handle.reserved, exported.data(), exported.size());
  void* block = nullptr;
  if (cudaIpcOpenMemHandle(&block, handle, cudaIpcMemLazyEnablePeerAccess) == cudaSuccess)
    return block;
  cudaGetLastError();  // told by the null
  return nullptr;
}

void close_block(void* block) noexcept {
  cudaIpcCloseMemHandle(block);
}

void await_flag(void* flag, const Stream& stream) {
  const auto address = reinterpret_cast<CUdeviceptr>(flag);
  CUstreamBatchMemOpParams operations[2] = {};
  operations[0].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
  operations[0].waitValue.address = address;
  operations[0].waitValue.value = 1;
  operations[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
  operations[1].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
  operations[1].writeValue.address = address;
  operations[1].writeValue.value = 0;
  operations[1].writeValue.flags = CU_STREAM_WRITE_VALUE_DEFAULT;
  const CUresult result = batch_mem_op()(handle_of(stream), 2, operations, 0);
  if (result != CUDA_SUCCESS) {
    throw DeviceError("await_flag: cuStreamBatchMemOp returned " + std::to_string(result));
  }
}

}  // namespace strait::kernels::cuda
