#pragma once

#include <cstddef>

#include "kernels/stream.h"

// Raw memory of a device. Arenas own it; nothing else calls these in a training step.
namespace strait::kernels {

/// `bytes` of memory aligned to 256, contents undefined. Throws std::bad_alloc, OpError for a
/// device this build lacks. Device::plan reserves an address without memory behind it: reading
/// faults.
void* allocate(Device device, std::size_t bytes);
void release(Device device, void* pointer) noexcept;

/// Copies between host and the stream's device in either direction (plain memcpy on cpu).
/// Asynchronous on cuda; the host side must stay alive until synchronise(). On plan nothing is
/// stored and zeros are read.
void copy_to_device(void* device_pointer, const void* host, std::size_t bytes,
                    const Stream& stream);
void copy_to_host(void* host, const void* device_pointer, std::size_t bytes, const Stream& stream);

/// Waits until everything enqueued on the stream is done. Never called inside a step's launches.
void synchronise(const Stream& stream);

}  // namespace strait::kernels
