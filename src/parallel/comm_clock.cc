#include "parallel/comm_clock.h"

#include "kernels/clock.h"
#include "kernels/elementwise.h"
#include "kernels/memory.h"

namespace strait::parallel {

void CommClock::bind(core::Arena& inputs) {
  last_ = inputs.take(DType::i64, {1});
  ignored_ = inputs.take(DType::i64, {1});
  total_ = inputs.take(DType::i64, {1});
  handle_ = nullptr;
}

void CommClock::start(const Stream& stream) {
  handle_ = stream.handle;
  device_ = stream.device;
  kernels::launch(kernels::Fill{.x = total_, .value = 0}, stream);
}

bool CommClock::times(const Stream& stream) const {
  return total_.defined() && stream.device == device_ && stream.handle == handle_;
}

void CommClock::enter(const Stream& stream) const {
  if (times(stream)) kernels::launch(kernels::Lap{.last = last_, .total = ignored_}, stream);
}

void CommClock::leave(const Stream& stream) const {
  if (times(stream)) kernels::launch(kernels::Lap{.last = last_, .total = total_}, stream);
}

void CommClock::read(const Tensor& total, const Stream& stream) const {
  kernels::copy_on_device(total.data, total_.data, total.bytes(), stream);
}

}  // namespace strait::parallel
