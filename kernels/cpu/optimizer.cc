#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// The step's constants, worked out in double and rounded once.
template <class T>
struct AdamConstants {
  explicit AdamConstants(const AdamW& op)
      : grad_scale(static_cast<T>(op.grad_scale.as<double>()[0])),
        beta1(static_cast<T>(op.beta1)),
        rest1(static_cast<T>(1 - op.beta1)),
        beta2(static_cast<T>(op.beta2)),
        rest2(static_cast<T>(1 - op.beta2)),
        step_size(static_cast<T>(op.lr / (1 - std::pow(op.beta1, static_cast<double>(op.step))))),
        correction2(static_cast<T>(1 / (1 - std::pow(op.beta2, static_cast<double>(op.step))))),
        eps(static_cast<T>(op.eps)),
        shrink(static_cast<T>(op.lr * op.decay)) {}
  T grad_scale, beta1, rest1, beta2, rest2, step_size, correction2, eps, shrink;
};

template <class T>
void update(const AdamConstants<T>& k, const T* g, T* w, T* m, T* v, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T gradient = g[i] * k.grad_scale;
    const T first = k.beta1 * m[i] + k.rest1 * gradient;
    const T second = k.beta2 * v[i] + k.rest2 * gradient * gradient;
    m[i] = first;
    v[i] = second;
    w[i] -= k.step_size * first / (std::sqrt(second * k.correction2) + k.eps) + k.shrink * w[i];
  }
}

}  // namespace

void run(const AdamW& op) {
  const auto refuse_bf16 = [](const ConstTensor& t) {
    if (t.defined()) with_real(t.dtype, AdamW::kName, [](auto) {});
  };
  refuse_bf16(op.g);
  refuse_bf16(op.w_compute);
  with_real(op.w.dtype, AdamW::kName, [&](auto real) {
    using T = decltype(real);
    const AdamConstants<T> constants(op);
    for_each_span(op.w, /*flat=*/true, [&](std::int64_t, std::int64_t begin, std::int64_t length) {
      update(constants, op.g.as<T>() + begin, op.w.as<T>() + begin, op.m.as<T>() + begin,
             op.v.as<T>() + begin, length);
    });
  });
  if (op.w_compute.defined()) run(Copy{.x = op.w, .y = op.w_compute});
}

void run(const SumSquares& op) {
  with_real(op.x.dtype, SumSquares::kName, [&](auto real) {
    using T = decltype(real);
    const T* x = op.x.as<T>();
    RowBlocks<double> blocks(op.x.shape[0], 1);
#pragma omp parallel for if (op.x.shape[0] > kParallelGrain)
    for (std::int64_t b = 0; b < blocks.count(); ++b) {
      const std::int64_t begin = blocks.begin(b), end = blocks.end(b);
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = begin; i < end; ++i) {
        sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      }
      blocks.sums(b)[0] = sum;
    }
    blocks.add_to(op.out.as<double>());
  });
}

void run(const ClipScale& op) {
  const double norm = std::sqrt(op.sum_squares.as<double>()[0]);
  op.norm.as<double>()[0] = norm;
  op.scale.as<double>()[0] = op.max_norm > 0 ? std::min(1.0, op.max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace strait::kernels::cpu
