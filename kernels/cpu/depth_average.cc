#include "kernels/depth_average.h"

#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class T>
void forward(const DepthAverageFwd& op) {
  const std::int64_t tokens = op.y.shape[0], width = op.y.shape[1];
  const T *bias = op.bias.as<T>(), *gamma = op.gamma.as<T>();
#pragma omp parallel for if (tokens * width > kParallelGrain)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const T* x = op.x.as<T>() + t * op.x.stride[0];
    const T* previous =
        op.previous.defined() ? op.previous.as<T>() + t * op.previous.stride[0] : nullptr;
    T* y = op.y.as<T>() + t * op.y.stride[0];
    for (std::int64_t i = 0; i < width; ++i) {
      const T own = x[i] + bias[i];
      y[i] = previous ? own + gamma[i] * previous[i] : own;
    }
  }
}

template <class T>
void backward(const DepthAverageBwd& op) {
  const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
  const T* gamma = op.gamma.as<T>();
  RowBlocks<T> blocks(tokens, 2 * width);  // dbias | dgamma
#pragma omp parallel for if (tokens * width > kParallelGrain)
  for (std::int64_t b = 0; b < blocks.count(); ++b) {
    T* sums = blocks.sums(b);
    for (std::int64_t t = blocks.begin(b); t < blocks.end(b); ++t) {
      const T* dy = op.dy.as<T>() + t * op.dy.stride[0];
      for (std::int64_t i = 0; i < width; ++i) sums[i] += dy[i];
      if (!op.previous.defined()) continue;
      const T* previous = op.previous.as<T>() + t * op.previous.stride[0];
      T* dprevious = op.dprevious.as<T>() + t * op.dprevious.stride[0];
      for (std::int64_t i = 0; i < width; ++i) {
        sums[width + i] += dy[i] * previous[i];
        dprevious[i] = gamma[i] * dy[i];
      }
    }
  }
  blocks.add_to(op.dbias.as<T>(), 0, width);
  if (op.previous.defined()) blocks.add_to(op.dgamma.as<T>(), width, width);
}

}  // namespace

void run(const DepthAverageFwd& op) {
  with_real(op.y.dtype, DepthAverageFwd::kName, [&](auto real) { forward<decltype(real)>(op); });
}

void run(const DepthAverageBwd& op) {
  with_real(op.dy.dtype, DepthAverageBwd::kName, [&](auto real) { backward<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
