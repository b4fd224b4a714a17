#pragma once

#include <cstddef>
#include <new>
#include <string>

#include "kernels/stream.h"

// Raw memory of a device. Arenas own it; nothing else calls these in a training step.
namespace strait::kernels {

/// Whether this build has the device's backend.
bool built(Device device) noexcept;
/// Whether this build has the backend and this machine the device.
bool available(Device device) noexcept;
/// Devices of the kind on this machine; one cpu.
int device_count(Device device) noexcept;
/// Makes this thread compute on device `index` of its kind from now on. Call it before anything is
/// allocated there. Throws DeviceError when there is no such device.
void use_device(Device device, int index);

/// The device has no room for a block.
class DeviceMemoryError : public std::bad_alloc {
 public:
  DeviceMemoryError(std::size_t bytes, std::size_t free, std::size_t total)
      : message_("allocate: " + std::to_string(bytes) + " bytes do not fit: " +
                 std::to_string(free) + " of the device's " + std::to_string(total) +
                 " are free; lower the batch or the model, or stop what else runs on the device") {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

/// `bytes` of memory aligned to 256, contents undefined. Throws std::bad_alloc (DeviceMemoryError
/// on cuda), OpError for a device this build lacks, DeviceError (device_error.h, here and below)
/// when the device fails. Device::plan reserves an address without memory behind it: reading
/// faults.
void* allocate(Device device, std::size_t bytes);
void release(Device device, void* pointer) noexcept;

/// Copies between host and the stream's device in either direction (plain memcpy on cpu).
/// Asynchronous on cuda; the host side must stay alive until synchronise(). On plan nothing is
/// stored and zeros are read.
void copy_to_device(void* device_pointer, const void* host, std::size_t bytes,
                    const Stream& stream);
void copy_to_host(void* host, const void* device_pointer, std::size_t bytes, const Stream& stream);

/// Copies inside the stream's device; the ranges do not overlap.
void copy_on_device(void* to, const void* from, std::size_t bytes, const Stream& stream);

/// Waits until everything enqueued on the stream is done. Never called inside a step's launches.
void synchronise(const Stream& stream);

/// What the CUDA backend takes for the workspaces of its launches at least.
inline constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

/// Takes the workspace of the launches on `stream` at once, so that it need not grow with them.
void reserve_workspace(const Stream& stream, std::size_t bytes);

}  // namespace strait::kernels
