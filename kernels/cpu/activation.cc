#include "kernels/activation.h"

#include "kernels/cpu/exp.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

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

}  // namespace strait::kernels::cpu
