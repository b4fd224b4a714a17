#include "parallel/phase_clock.h"

#include "kernels/clock.h"
#include "kernels/elementwise.h"

namespace strait::parallel {

void PhaseClock::bind(core::Arena& inputs) {
  last_ = inputs.take(DType::i64, {1});
  unused_ = inputs.take(DType::i64, {1});
  totals_ = {};
}

void PhaseClock::start(core::Arena& state, const Stream& stream) {
  totals_ = state.take(DType::i64, {static_cast<std::int64_t>(kPhaseNames.size())});
  kernels::launch(kernels::Fill{.x = totals_, .value = 0}, stream);
  lap(Phase::data, stream);
}

void PhaseClock::lap(Phase phase, const Stream& stream) const {
  // A model may run outside of a step, where nothing was started.
  if (!totals_.defined()) return;
  kernels::launch(
      kernels::Lap{.last = last_, .total = totals_.slice(0, static_cast<int>(phase), 1)}, stream);
}

void PhaseClock::restart(const Stream& stream) const {
  kernels::launch(kernels::Lap{.last = last_, .total = unused_}, stream);
}

}  // namespace strait::parallel
