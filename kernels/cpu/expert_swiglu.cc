#include "kernels/expert_swiglu.h"

#include "kernels/cpu/exp.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

void run(const ExpertSwigluBwd& op) {
  with_real(op.dy.dtype, ExpertSwigluBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
    const std::int64_t end = op.offsets.as<std::int32_t>()[op.offsets.shape[0] - 1];
#pragma omp parallel for if (rows * width > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) {
      const std::int64_t choice = op.choice_of.as<std::int32_t>()[n];
      T& dweight = op.dweight.as<T>()[choice];
      dweight = 0;
      if (n >= end) continue;
      const T weight = op.weight.as<T>()[choice];
      const T* dy = op.dy.as<T>() + n * op.dy.stride[0];
      const T* gate = op.gate_up.as<T>() + n * op.gate_up.stride[0];
      T* dgate = op.dgate_up.as<T>() + n * op.dgate_up.stride[0];
      T* y = op.y.as<T>() + n * op.y.stride[0];
      for (std::int64_t i = 0; i < width; ++i) {
        const T g = gate[i], u = gate[width + i], s = sigmoid(g), d = weight * dy[i];
        dweight += dy[i] * g * s * u;
        y[i] = weight * g * s * u;
        dgate[i] = d * u * s * (T(1) + g * (T(1) - s));
        dgate[width + i] = d * g * s;
      }
    }
  });
}

}  // namespace strait::kernels::cpu
