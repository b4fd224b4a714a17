#include "kernels/cuda/memory.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/context.h"
#include "kernels/memory.h"

namespace strait::kernels::cuda {

bool available() noexcept {
  return device_count() > 0;
}

int device_count() noexcept {
  int count = 0;
  const bool found = cudaGetDeviceCount(&count) == cudaSuccess;
  cudaGetLastError();  // a machine without a driver is no fault of a later launch
  return found ? count : 0;
}

void use_device(int index) {
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
}

void* allocate(std::size_t bytes) {
  // Smaller blocks share pages, and another process could only open them together (peer.h).
  constexpr std::size_t kPage = std::size_t{2} << 20;
  void* pointer = nullptr;
  const cudaError_t status = cudaMalloc(&pointer, std::max(bytes, kPage));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw DeviceMemoryError(bytes, free, total);
  }
  check_cuda(status, "allocate: cudaMalloc");
  return pointer;
}

void release(void* pointer) noexcept {
  cudaFree(pointer);
}

void copy_to_device(void* device_pointer, const void* host, std::size_t bytes,
                    const Stream& stream) {
  if (bytes == 0) return;
  check_cuda(
      cudaMemcpyAsync(device_pointer, host, bytes, cudaMemcpyHostToDevice, handle_of(stream)),
      ("copy_to_device of " + std::to_string(bytes) + " bytes").c_str());
}

void copy_to_host(void* host, const void* device_pointer, std::size_t bytes, const Stream& stream) {
  if (bytes == 0) return;
  check_cuda(
      cudaMemcpyAsync(host, device_pointer, bytes, cudaMemcpyDeviceToHost, handle_of(stream)),
      ("copy_to_host of " + std::to_string(bytes) + " bytes").c_str());
}

void copy_on_device(void* to, const void* from, std::size_t bytes, const Stream& stream) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, handle_of(stream)),
             ("copy_on_device of " + std::to_string(bytes) + " bytes").c_str());
}

void synchronise(const Stream& stream) {
  check_cuda(cudaStreamSynchronize(handle_of(stream)), "synchronise: the work before it failed");
}

void reserve_workspace(const Stream& stream, std::size_t bytes) {
  Context::current().workspace(stream, bytes);
}

}  // namespace strait::kernels::cuda
