#include "kernels/norm.h"

#include "kernels/cpu/real.h"
#include "kernels/cpu/rms_row.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

namespace {

/// sum = x + delta, scaled where the op says so.
template <class T>
void add_row(const SumScales& scales, const T* x, const T* delta, T* sum, std::int64_t width) {
  if (!scales.x_scale.defined()) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) sum[i] = x[i] + delta[i];
    return;
  }
  const T *xs = scales.x_scale.as<T>(), *xb = scales.x_bias.as<T>();
  const T *ds = scales.delta_scale.as<T>(), *db = scales.delta_bias.as<T>();
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    sum[i] = (delta[i] + db[i]) * ds[i] + (x[i] + xb[i]) * xs[i];
  }
}

}  // namespace

void run(const RmsNormFwd& op) {
  with_real(op.y.dtype, RmsNormFwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.x.shape[0], width = op.x.shape[1];
#pragma omp parallel for if (tokens * width > kParallelGrain)
    for (std::int64_t t = 0; t < tokens; ++t) {
      const T* s = op.x.as<T>() + t * op.x.stride[0];
      if (op.delta.defined()) {
        T* sum = op.sum.as<T>() + t * op.sum.stride[0];
        add_row(op.scales, s, op.delta.as<T>() + t * op.delta.stride[0], sum, width);
        s = sum;
      }
      T* y = op.y.as<T>() + t * op.y.stride[0];
      op.rstd.as<T>()[t] = rms_forward_row(s, op.w.as<T>(), y, width, op.eps);
    }
  });
}

void run(const RmsNormBwd& op) {
  with_real(op.dy.dtype, RmsNormBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
    RowBlocks<T> blocks(tokens, width);
#pragma omp parallel for if (tokens * width > kParallelGrain)
    for (std::int64_t b = 0; b < blocks.count(); ++b) {
      for (std::int64_t t = blocks.begin(b); t < blocks.end(b); ++t) {
        const T* residual =
            op.dresidual.defined() ? op.dresidual.as<T>() + t * op.dresidual.stride[0] : nullptr;
        rms_backward_row(op.dy.as<T>() + t * op.dy.stride[0], op.s.as<T>() + t * op.s.stride[0],
                         op.w.as<T>(), op.rstd.as<T>()[t], residual,
                         op.dx.as<T>() + t * op.dx.stride[0], blocks.sums(b), width);
      }
    }
    blocks.add_to(op.dw.as<T>());
  });
}

}  // namespace strait::kernels::cpu
