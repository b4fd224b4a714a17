#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

// Results over parts (of the keys, of the vocabulary) that become results over all of them.
namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// One thread per row.
__global__ void __launch_bounds__(kThreads)
    cross_entropy_merge(const float* parts, float* stats, int blocks, std::int64_t rows) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= rows) return;
  const auto of = [&](int b) { return parts + (b * rows + n) * 3; };
  float max = -INFINITY, label = 0;
  for (int b = 0; b < blocks; ++b) max = fmaxf(max, of(b)[0]);
  double sum = 0;
  for (int b = 0; b < blocks; ++b) {
    if (of(b)[1] != 0) sum += of(b)[1] * exp(static_cast<double>(of(b)[0]) - max);
    label += of(b)[2];
  }
  stats[3 * n] = max;
  stats[3 * n + 1] = static_cast<float>(sum);
  stats[3 * n + 2] = label;
}

struct MergeArgs {
  const float* part_lse;
  float* o;
  float* lse;
  std::int64_t tokens;
  int heads, width;
};

/// One warp per token and head.
template <class T>
__global__ void __launch_bounds__(kThreads) attention_merge(const T* part, const MergeArgs args) {
  constexpr int kLanes = 32;
  const std::int64_t row =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads / kLanes) + threadIdx.x / kLanes;
  if (row >= args.tokens * args.heads) return;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const std::int64_t at = row % args.heads * args.tokens + row / args.heads;
  const float mine = args.lse[at], other = args.part_lse[at];
  __syncwarp();  // all have read before lane 0 writes
  if (other == -INFINITY) return;
  const float max = fmaxf(mine, other), a = expf(mine - max), b = expf(other - max), sum = a + b;
  for (int d = lane; d < args.width; d += kLanes) {
    float& o = args.o[row * args.width + d];
    o = (a * o + b * to_float(part[row * args.width + d])) / sum;
  }
  if (lane == 0) args.lse[at] = max + logf(sum);
}

}  // namespace

std::string unsupported(const CrossEntropyMerge& op) {
  return unsupported_compute("parts", op.parts);
}

std::string unsupported(const AttentionMerge& op) {
  return unsupported_compute("part", op.part);
}

void run(const CrossEntropyMerge& op, const Stream& stream) {
  const std::int64_t rows = op.stats.shape[0];
  const Call call{op.kName, stream, {op.parts, op.stats}};
  const Grid grid{blocks_for(rows, kThreads), kThreads};
  launch_kernel(call, grid, cross_entropy_merge, op.parts.as<float>(), op.stats.as<float>(),
                static_cast<int>(op.parts.shape[0]), rows);
}

void run(const AttentionMerge& op, const Stream& stream) {
  const MergeArgs args{.part_lse = op.part_lse.as<float>(),
                       .o = op.o.as<float>(),
                       .lse = op.lse.as<float>(),
                       .tokens = op.o.shape[0],
                       .heads = static_cast<int>(op.o.shape[1]),
                       .width = static_cast<int>(op.o.shape[2])};
  const Call call{op.kName, stream, {op.part, op.o, op.lse}};
  const Grid grid{blocks_for(args.tokens * args.heads, kThreads / 32), kThreads};
  with_real(op.part.dtype, op.kName, [&](auto zero) {
    using T = decltype(zero);
    launch_kernel(call, grid, attention_merge<T>, static_cast<const T*>(op.part.data), args);
  });
}

}  // namespace strait::kernels::cuda
