#pragma once

#include <cstddef>

#include "kernels/stream.h"

// Device memory on the current CUDA device, behind kernels/memory.h.
namespace strait::kernels::cuda {

/// Whether the runtime finds a device it can use.
bool available() noexcept;
int device_count() noexcept;
void use_device(int index);
/// Throws DeviceMemoryError when the device has no `bytes` left, DeviceError for other faults.
void* allocate(std::size_t bytes);
void release(void* pointer) noexcept;
/// Enqueues; page-locked host memory makes it asynchronous.
void copy_to_device(void* device_pointer, const void* host, std::size_t bytes,
                    const Stream& stream);
void copy_to_host(void* host, const void* device_pointer, std::size_t bytes, const Stream& stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, const Stream& stream);
void synchronise(const Stream& stream);
void reserve_workspace(const Stream& stream, std::size_t bytes);

}  // namespace strait::kernels::cuda
