#include "parallel/grad_sync.h"

namespace strait::parallel {

void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream) {
  const core::Param* first = nullptr;
  const core::Param* last = nullptr;
  const auto flush = [&] {
    if (!first) return;
    // Gaps between parameters hold zeros.
    const std::int64_t end = last->begin + last->grad.numel();
    const Tensor run = table.flat().grad.slice(0, first->begin, end - first->begin);
    for (const core::Axis axis : first->spec.grad_axes) {
      groups.axis(axis).all_reduce_sum(run, stream);
    }
    first = nullptr;
  };
  for (const core::Param* param : table.in_memory_order()) {
    if (first && first->spec.grad_axes != param->spec.grad_axes) flush();
    if (!first) first = param;
    last = param;
  }
  flush();
}

}  // namespace strait::parallel
