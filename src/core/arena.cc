#include "core/arena.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "kernels/memory.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace strait::core {
namespace {

constexpr std::size_t kAlignment = 256;
// Address space (not memory) of a planning arena; no plan comes near it. ThreadSanitizer leaves
// programs little of it: plans of small models alone.
#ifdef __SANITIZE_THREAD__
constexpr std::size_t kPlanSpan = std::size_t{1} << 36;
#else
constexpr std::size_t kPlanSpan = std::size_t{1} << 42;
#endif

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Lets nobody touch `bytes` of host memory from `begin`, where AddressSanitizer watches.
void forbid(void* begin, std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(begin, bytes);
  std::memset(begin, 0xff, bytes);  // NaN in every format
  __asan_poison_memory_region(begin, bytes);
#else
  static_cast<void>(begin), static_cast<void>(bytes);
#endif
}

void permit(void* begin, std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(begin, bytes);
#else
  static_cast<void>(begin), static_cast<void>(bytes);
#endif
}

}  // namespace

Arena::Arena(std::string name)
    : name_(std::move(name)), block_(kernels::allocate(Device::plan, kPlanSpan)) {}

Arena::~Arena() {
  kernels::release(device_, block_);
}

Tensor Arena::take(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor(nullptr, dtype, shape);
  const std::size_t begin = used_;
  const std::size_t end = begin + aligned(std::max<std::size_t>(tensor.bytes(), 1));
  if (!planning() && end > peak_) {
    throw RuntimeFault("arena '" + name_ + "': " + tensor.shape_string() + " needs " +
                       std::to_string(end) + " bytes in all, planned were " +
                       std::to_string(peak_) + "; the plan and the step disagree");
  }
  if (end > kPlanSpan) {
    throw InputError("memory plan: " + name_ + " needs more than 4 TiB on one rank (" +
                     tensor.shape_string() +
                     "); lower train.micro_batch, data.seq_len or the model's sizes");
  }
  used_ = end;
  if (planning()) peak_ = std::max(peak_, end);
  tensor.data = static_cast<char*>(block_) + begin;
  if (device_ == Device::cpu) permit(tensor.data, tensor.bytes());
  return tensor;
}

void Arena::release(std::size_t mark) {
  if (device_ == Device::cpu) forbid(static_cast<char*>(block_) + mark, used_ - mark);
  used_ = mark;
}

Tensor Arena::block() const {
  if (device_ == Device::cpu) permit(block_, peak_);
  return Tensor(block_, DType::u8, {static_cast<std::int64_t>(peak_)});
}

void Arena::allocate(Device device) {
  used_ = 0;
  if (device == Device::plan) return;
  void* memory = kernels::allocate(device, std::max<std::size_t>(peak_, 1));
  kernels::release(device_, block_);
  block_ = memory;
  device_ = device;
  if (device == Device::cpu) forbid(block_, peak_);
}

}  // namespace strait::core
