#pragma once

#include <string>

#include "kernels/stream.h"

// Memory of GPUs of one host that belong to other processes: what a rank needs to write there by
// copies (copy_on_device of memory.h), without a kernel of either side. Off cuda there is none.
namespace strait::kernels {

/// What another process opens a block of this one by, as allocate() returned it. Empty where the
/// device exports none, or its driver cannot let streams wait.
std::string export_block(Device device, void* block) noexcept;
/// An address here for a block that a process of this host exported; null for an empty name and
/// where this device does not reach the block. Valid until close_block(), before the other process
/// releases the block.
void* open_block(Device device, const std::string& exported) noexcept;
void close_block(Device device, void* block) noexcept;

/// `stream` goes on when the 32-bit word at `flag` in this device's memory is 1, and makes it 0. No
/// multiprocessor waits. Can be captured. Throws DeviceError.
void await_flag(void* flag, const Stream& stream);

}  // namespace strait::kernels
