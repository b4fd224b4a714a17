#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

void run(const AttentionMerge& op) {
  with_real(op.part.dtype, AttentionMerge::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.o.shape[0], heads = op.o.shape[1], width = op.o.shape[2];
#pragma omp parallel for if (op.o.numel() > kParallelGrain)
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        T& lse = op.lse.as<T>()[h * tokens + t];
        const T other = op.part_lse.as<T>()[h * tokens + t], max = std::max(lse, other);
        if (std::isinf(other) && other < 0) continue;  // no keys there
        const T mine = std::exp(lse - max), theirs = std::exp(other - max), sum = mine + theirs;
        T* o = op.o.as<T>() + (t * heads + h) * width;
        const T* part = op.part.as<T>() + (t * heads + h) * width;
        for (std::int64_t d = 0; d < width; ++d) o[d] = (mine * o[d] + theirs * part[d]) / sum;
        lse = max + std::log(sum);
      }
    }
  });
}

}  // namespace strait::kernels::cpu
