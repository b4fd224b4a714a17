#include "kernels/peer.h"

#include "kernels/cuda/peer.h"

namespace strait::kernels {

std::string export_block(Device device, void* block) noexcept {
  return device == Device::cuda ? cuda::export_block(block) : std::string();
}

void* open_block(Device device, const std::string& exported) noexcept {
  return device == Device::cuda ? cuda::open_block(exported) : nullptr;
}

void close_block(Device device, void* block) noexcept {
  if (device == Device::cuda && block) cuda::close_block(block);
}

void await_flag(void* flag, const Stream& stream) {
  if (stream.device == Device::cuda) cuda::await_flag(flag, stream);
}

}  // namespace strait::kernels
