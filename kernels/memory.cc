#include "kernels/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/cuda/memory.h"

namespace strait::kernels {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPage = 4096;

/// Reserves address space without memory behind it, so that plan tensors have distinct addresses
/// for the aliasing checks and any access faults. The page before the address keeps the length.
void* reserve(std::size_t bytes) {
  const std::size_t length = bytes + 2 * kPage;
  void* base = mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  if (mprotect(base, kPage, PROT_READ | PROT_WRITE) != 0) {
    munmap(base, length);
    throw std::bad_alloc();
  }
  *static_cast<std::size_t*>(base) = length;
  return static_cast<char*>(base) + kPage;
}

void unreserve(void* pointer) {
  void* base = static_cast<char*>(pointer) - kPage;
  munmap(base, *static_cast<std::size_t*>(base));
}

}  // namespace

bool built(Device device) noexcept {
#ifdef STRAIT_CUDA
  return device != Device::plan;
#else
  return device == Device::cpu;
#endif
}

bool available(Device device) noexcept {
  return device != Device::cuda || cuda::available();
}

int device_count(Device device) noexcept {
  return device == Device::cuda ? cuda::device_count() : 1;
}

void use_device(Device device, int index) {
  if (device == Device::cuda) cuda::use_device(index);
}

void* allocate(Device device, std::size_t bytes) {
  if (device == Device::cuda) return cuda::allocate(bytes);
  if (bytes > SIZE_MAX - 2 * kPage) throw std::bad_alloc();
  if (device == Device::plan) return reserve(bytes);
  const std::size_t rounded = (bytes / kAlignment + 1) * kAlignment;
  void* pointer = std::aligned_alloc(kAlignment, rounded);
  if (!pointer) throw std::bad_alloc();
  return pointer;
}

void release(Device device, void* pointer) noexcept {
  if (!pointer) return;
  if (device == Device::plan) unreserve(pointer);
  if (device == Device::cpu) std::free(pointer);
  if (device == Device::cuda) cuda::release(pointer);
}

void copy_to_device(void* device_pointer, const void* host, std::size_t bytes,
                    const Stream& stream) {
  if (stream.device == Device::cuda) {
    return cuda::copy_to_device(device_pointer, host, bytes, stream);
  }
  if (stream.device == Device::cpu && bytes > 0) std::memcpy(device_pointer, host, bytes);
}

void copy_to_host(void* host, const void* device_pointer, std::size_t bytes, const Stream& stream) {
  if (stream.device == Device::cuda) {
    return cuda::copy_to_host(host, device_pointer, bytes, stream);
  }
  if (bytes == 0) return;
  if (stream.device == Device::cpu) std::memcpy(host, device_pointer, bytes);
  // A plan has no values; zeros keep what the host does next well defined.
  if (stream.device == Device::plan) std::memset(host, 0, bytes);
}

void copy_on_device(void* to, const void* from, std::size_t bytes, const Stream& stream) {
  if (stream.device == Device::cuda) return cuda::copy_on_device(to, from, bytes, stream);
  if (stream.device == Device::cpu && bytes > 0) std::memcpy(to, from, bytes);
}

void synchronise(const Stream& stream) {
  if (stream.device == Device::cuda) cuda::synchronise(stream);
}

void reserve_workspace(const Stream& stream, std::size_t bytes) {
  if (stream.device == Device::cuda) cuda::reserve_workspace(stream, bytes);
}

}  // namespace strait::kernels
