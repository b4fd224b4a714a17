#include "kernels/norm.h"

#include <algorithm>
#include <vector>

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

/// delta, or zeros where it is null, and the weighted rows of token t.
template <class T>
std::vector<T> combined_row(const ExpertRows& experts, std::int64_t t, const T* delta,
                            std::int64_t width) {
  std::vector<T> sum(width);
  if (delta) std::copy(delta, delta + width, sum.begin());
  add_expert_rows(experts.rows, experts.row_of, experts.weight, t, sum.data());
  return sum;
}

/// Writes the sum of token t where the op has one; returns what is to be normalised. Not inlined:
/// norms of sums and of stored sums must run the same code, to the bit.
template <class T>
[[gnu::noinline]] const T* summed_row(const RmsNormFwd& op, std::int64_t t, std::int64_t width) {
  const T* x = op.x.as<T>() + t * op.x.stride[0];
  if (!op.sum.defined()) return x;
  T* sum = op.sum.as<T>() + t * op.sum.stride[0];
  const T* delta = op.delta.defined() ? op.delta.as<T>() + t * op.delta.stride[0] : nullptr;
  if (op.experts.rows.defined()) {
    add_row(op.scales, x, combined_row(op.experts, t, delta, width).data(), sum, width);
  } else {
    add_row(op.scales, x, delta, sum, width);
  }
  return sum;
}

}  // namespace

void run(const RmsNormFwd& op) {
  with_real(op.y.dtype, RmsNormFwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.x.shape[0], width = op.x.shape[1];
#pragma omp parallel for if (tokens * width > kParallelGrain)
    for (std::int64_t t = 0; t < tokens; ++t) {
      T* y = op.y.as<T>() + t * op.y.stride[0];
      op.rstd.as<T>()[t] =
          rms_forward_row(summed_row<T>(op, t, width), op.w.as<T>(), y, width, op.eps);
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
