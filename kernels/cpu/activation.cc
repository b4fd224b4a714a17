#include "kernels/activation.h"

#include <cmath>
#include <numbers>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Distribution function of the standard normal.
template <class T>
T normal_below(T z) {
  return T(0.5) * std::erfc(-z * static_cast<T>(std::numbers::sqrt2 / 2));
}

template <class T>
T normal_density(T z) {
  constexpr double kScale = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  return static_cast<T>(kScale) * std::exp(T(-0.5) * z * z);
}

}  // namespace

void run(const SwigluFwd& op) {
  with_real(op.y.dtype, SwigluFwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.y.shape[0], width = op.y.shape[1];
#pragma omp parallel for if (rows * width > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) {
      const T* gate = op.gate_up.as<T>() + n * op.gate_up.stride[0];
      const T* up = gate + width;
      T* y = op.y.as<T>() + n * op.y.stride[0];
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
    }
  });
}

void run(const SwigluBwd& op) {
  with_real(op.dy.dtype, SwigluBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
#pragma omp parallel for if (rows * width > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) {
      const T* dy = op.dy.as<T>() + n * op.dy.stride[0];
      const T* gate = op.gate_up.as<T>() + n * op.gate_up.stride[0];
      const T* up = gate + width;
      T* dgate = op.dgate_up.as<T>() + n * op.dgate_up.stride[0];
      T* dup = dgate + width;
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) {
        const T g = gate[i], u = up[i], d = dy[i];
        const T s = sigmoid(g);
        dgate[i] = d * u * s * (T(1) + g * (T(1) - s));
        dup[i] = d * g * s;
      }
    }
  });
}

void run(const GeluFwd& op) {
  with_real(op.y.dtype, GeluFwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.y.shape[0], width = op.y.shape[1];
    const T* bias = op.bias.as<T>();
#pragma omp parallel for if (rows * width > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) {
      const T* x = op.x.as<T>() + n * op.x.stride[0];
      T* y = op.y.as<T>() + n * op.y.stride[0];
      for (std::int64_t i = 0; i < width; ++i) {
        const T z = x[i] + bias[i];
        y[i] = z * normal_below(z);
      }
    }
  });
}

void run(const GeluBwd& op) {
  with_real(op.dy.dtype, GeluBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
    const T* bias = op.bias.as<T>();
    RowBlocks<T> sums(rows, width);
#pragma omp parallel for if (rows * width > kParallelGrain / 8)
    for (std::int64_t b = 0; b < sums.count(); ++b) {
      for (std::int64_t n = sums.begin(b); n < sums.end(b); ++n) {
        const T* dy = op.dy.as<T>() + n * op.dy.stride[0];
        const T* x = op.x.as<T>() + n * op.x.stride[0];
        T* dx = op.dx.as<T>() + n * op.dx.stride[0];
        for (std::int64_t i = 0; i < width; ++i) {
          const T z = x[i] + bias[i];
          dx[i] = dy[i] * (normal_below(z) + z * normal_density(z));
          sums.sums(b)[i] += dx[i];
        }
      }
    }
    sums.add_to(op.dbias.as<T>());
  });
}

}  // namespace strait::kernels::cpu
