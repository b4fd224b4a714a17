#include "parallel/grad_sync.h"

namespace strait::parallel {
namespace {

/// One tensor over the memory from the first gradient to the end of the last (gaps are zero).
Tensor spanning(const Tensor& first, const Tensor& last) {
  const auto* begin = static_cast<const char*>(first.data);
  const auto* end = static_cast<const char*>(last.data) + last.bytes();
  const auto bytes = static_cast<std::int64_t>(end - begin);
  return Tensor(first.data, first.dtype, {bytes / static_cast<std::int64_t>(size_of(first.dtype))});
}

}  // namespace

void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream) {
  const core::Param* first = nullptr;
  const core::Param* last = nullptr;
  const auto flush = [&] {
    if (!first) return;
    const Tensor run = spanning(first->grad, last->grad);
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
