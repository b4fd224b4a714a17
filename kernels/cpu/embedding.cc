#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

void run(const EmbeddingFwd& op) {
  with_real(op.y.dtype, EmbeddingFwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.y.shape[0], width = op.y.shape[1], vocab = op.w.shape[0];
    const auto* ids = op.ids.as<std::int32_t>();
#pragma omp parallel for if (tokens * width > kParallelGrain)
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t id = ids[t] - op.vocab_begin;
      T* y = op.y.as<T>() + t * op.y.stride[0];
      if (id >= 0 && id < vocab) {
        std::copy_n(op.w.as<T>() + id * op.w.stride[0], width, y);
      } else {
        std::fill_n(y, width, T(0));
      }
    }
  });
}

void run(const EmbeddingBwd& op) {
  with_real(op.dy.dtype, EmbeddingBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1], vocab = op.dw.shape[0];
    const auto* ids = op.ids.as<std::int32_t>();
    // Threads own columns, so two tokens of one id never race and their order is kept.
    constexpr std::int64_t kColumns = 64;
#pragma omp parallel for if (tokens * width > kParallelGrain)
    for (std::int64_t begin = 0; begin < width; begin += kColumns) {
      const std::int64_t end = std::min(width, begin + kColumns);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::int64_t id = ids[t] - op.vocab_begin;
        if (id < 0 || id >= vocab) continue;
        T* dw = op.dw.as<T>() + id * op.dw.stride[0];
        const T* dy = op.dy.as<T>() + t * op.dy.stride[0];
        for (std::int64_t j = begin; j < end; ++j) dw[j] += dy[j];
      }
    }
  });
}

}  // namespace strait::kernels::cpu
