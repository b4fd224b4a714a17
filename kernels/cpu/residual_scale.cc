#include "kernels/residual_scale.h"

#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// One term's gradients in a row; sums are [scale | bias].
template <class T>
void term_gradient(const T* dy, const T* x, const ConstTensor& scale, const ConstTensor& bias,
                   T* dx, T* sums, std::int64_t width) {
  const T *s = scale.as<T>(), *b = bias.as<T>();
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) {
    const T d = dy[i];
    sums[i] += d * (x[i] + b[i]);
    sums[width + i] += d * s[i];
    dx[i] = d * s[i];
  }
}

template <class T>
void forward(const ResidualScaleFwd& op) {
  const std::int64_t tokens = op.y.shape[0], width = op.y.shape[1];
#pragma omp parallel for if (tokens * width > kParallelGrain)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const T* delta = op.delta.as<T>() + t * op.delta.stride[0];
    const T* x = op.x.defined() ? op.x.as<T>() + t * op.x.stride[0] : nullptr;
    T* y = op.y.as<T>() + t * op.y.stride[0];
    const T *ds = op.delta_scale.as<T>(), *db = op.delta_bias.as<T>();
    const T *xs = op.x_scale.as<T>(), *xb = op.x_bias.as<T>();
    for (std::int64_t i = 0; i < width; ++i) {
      const T branch = (delta[i] + db[i]) * ds[i];
      y[i] = x ? branch + (x[i] + xb[i]) * xs[i] : branch;
    }
  }
}

template <class T>
void backward(const ResidualScaleBwd& op) {
  const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
  const bool stream = op.x.defined();
  RowBlocks<T> branch(tokens, 2 * width), residual(tokens, stream ? 2 * width : 0);
#pragma omp parallel for if (tokens * width > kParallelGrain)
  for (std::int64_t b = 0; b < branch.count(); ++b) {
    for (std::int64_t t = branch.begin(b); t < branch.end(b); ++t) {
      const T* dy = op.dy.as<T>() + t * op.dy.stride[0];
      // dx, or ddelta without it, may be dy: it comes last.
      term_gradient(dy, op.delta.as<T>() + t * op.delta.stride[0], op.delta_scale, op.delta_bias,
                    op.ddelta.as<T>() + t * op.ddelta.stride[0], branch.sums(b), width);
      if (!stream) continue;
      term_gradient(dy, op.x.as<T>() + t * op.x.stride[0], op.x_scale, op.x_bias,
                    op.dx.as<T>() + t * op.dx.stride[0], residual.sums(b), width);
    }
  }
  branch.add_to(op.ddelta_scale.as<T>(), 0, width);
  branch.add_to(op.ddelta_bias.as<T>(), width, width);
  if (!stream) return;
  residual.add_to(op.dx_scale.as<T>(), 0, width);
  residual.add_to(op.dx_bias.as<T>(), width, width);
}

}  // namespace

void run(const ResidualScaleFwd& op) {
  with_real(op.y.dtype, ResidualScaleFwd::kName, [&](auto real) { forward<decltype(real)>(op); });
}

void run(const ResidualScaleBwd& op) {
  with_real(op.dy.dtype, ResidualScaleBwd::kName, [&](auto real) { backward<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
