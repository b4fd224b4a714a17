#include "parallel/grad_sync.h"

namespace strait::parallel {

void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream) {
  for (const core::GradientRun& run : table.gradient_runs()) {
    const Tensor gradients = table.flat().grad.slice(0, run.begin, run.size);
    for (const core::Axis axis : run.axes) {
      groups.axis(axis).all_reduce_sum(gradients, stream, "gradients");
    }
  }
}

}  // namespace strait::parallel
