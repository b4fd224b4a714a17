#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/bf16.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"
#include "kernels/stochastic.h"

namespace strait::kernels::cpu {
namespace {

/// The step's constants, worked out in double and rounded once.
template <class T>
struct AdamConstants {
  AdamConstants(const AdamW& op, const double* rates)
      : grad_scale(static_cast<T>(op.grad_scale.as<double>()[0])),
        beta1(static_cast<T>(op.beta1)),
        rest1(static_cast<T>(1 - op.beta1)),
        beta2(static_cast<T>(op.beta2)),
        rest2(static_cast<T>(1 - op.beta2)),
        step_size(static_cast<T>(rates[0] / rates[1])),
        correction2(static_cast<T>(1 / rates[2])),
        eps(static_cast<T>(op.eps)),
        shrink(static_cast<T>(rates[0] * op.decay)) {}
  T grad_scale, beta1, rest1, beta2, rest2, step_size, correction2, eps, shrink;
};

/// States of T as they are.
template <class T>
struct WideStates {
  T *m, *v;
  T first(std::int64_t i) const { return m[i]; }
  T second(std::int64_t i) const { return v[i]; }
  void store(std::int64_t i, T first, T second) const {
    m[i] = first;
    v[i] = second;
  }
};

/// States in bf16, rounded stochastically.
template <class T>
struct NarrowStates {
  std::uint16_t *m, *v;
  std::uint64_t key;
  std::int64_t first_index;
  T first(std::int64_t i) const { return static_cast<T>(float_of_bf16(m[i])); }
  T second(std::int64_t i) const { return static_cast<T>(float_of_bf16(v[i])); }
  void store(std::int64_t i, T first, T second) const {
    const std::uint64_t bits = rounding_bits(key, static_cast<std::uint64_t>(first_index + i));
    m[i] = round_stochastic(static_cast<float>(first), static_cast<std::uint16_t>(bits));
    v[i] = round_stochastic(static_cast<float>(second), static_cast<std::uint16_t>(bits >> 16));
  }
};

template <class T, class States>
void update(const AdamConstants<T>& k, const T* g, T* w, const States& states, std::int64_t begin,
            std::int64_t end) {
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    const T gradient = g[i] * k.grad_scale;
    const T first = k.beta1 * states.first(i) + k.rest1 * gradient;
    const T second = k.beta2 * states.second(i) + k.rest2 * gradient * gradient;
    states.store(i, first, second);
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
    const double* rates = op.rates.as<double>();
    if (rates[3] == 0) return;
    const AdamConstants<T> constants(op, rates);
    const auto update_all = [&](const auto& states) {
      for_each_span(op.w, true, [&](std::int64_t, std::int64_t begin, std::int64_t length) {
        update(constants, op.g.as<T>(), op.w.as<T>(), states, begin, begin + length);
      });
    };
    if (op.m.dtype == DType::bf16) {
      update_all(NarrowStates<T>{
          static_cast<std::uint16_t*>(op.m.data), static_cast<std::uint16_t*>(op.v.data),
          rounding_key(op.seed, static_cast<std::uint64_t>(rates[3])), op.first_index});
    } else {
      update_all(WideStates<T>{op.m.as<T>(), op.v.as<T>()});
    }
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

void run(const StepGuard& op) {
  const double loss = op.loss.as<double>()[0], norm = op.norm.as<double>()[0];
  const double* limits = op.limits.as<double>();
  const bool finite = std::isfinite(loss) && std::isfinite(norm);
  if (!finite || loss > limits[0] || norm > limits[1]) op.rates.as<double>()[3] = 0;
}

}  // namespace strait::kernels::cpu
