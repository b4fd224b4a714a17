#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route_support.h"
#include "kernels/cuda/run.h"
#include "kernels/routing.h"

namespace strait::kernels::cuda {
namespace {

using namespace route;

constexpr int kFractionThreads = 1024, kFractionReads = 4;
constexpr int kFinishThreads = 256;

struct FractionArgs {
  const int* expert;
  const int* sequence;  // or null: whole sequences, one after another
  float* fraction;      // [sequences, experts]
  int tokens, experts, chosen, length;
};

struct Args {
  const float* logits;
  const float* scores;
  const float* fraction;  // [sequences, experts]
  const int* sequence;    // or null
  double* partials;       // [blocks, 2]: balance and squared log-sum-exp
  double* aux;
  double* z;
  int tokens, experts, length, blocks;
};

/// Counts the lanes' experts, all lanes of one expert at once: most may have chosen alike. -1:
/// none.
__device__ __forceinline__ void count_by_warp(int* histogram, int expert) {
  const unsigned alike = __match_any_sync(kAllLanes, expert);
  if (expert >= 0 && lane_id() == __ffs(static_cast<int>(alike)) - 1) {
    atomicAdd(&histogram[expert], __popc(alike));
  }
}

/// One block per sequence: the shares of its choices.
__global__ void __launch_bounds__(kFractionThreads) choice_fractions(const FractionArgs args) {
  extern __shared__ int histogram[];
  for (int e = threadIdx.x; e < args.experts; e += kFractionThreads) histogram[e] = 0;
  __syncthreads();
  const std::int64_t choices = static_cast<std::int64_t>(args.length) * args.chosen;
  if (args.sequence) {
    const std::int64_t all = static_cast<std::int64_t>(args.tokens) * args.chosen;
    for (std::int64_t c = threadIdx.x; c < all; c += kFractionThreads) {
      if (args.sequence[c / args.chosen] == static_cast<int>(blockIdx.x)) {
        atomicAdd(&histogram[args.expert[c]], 1);
      }
    }
  } else {
    const int* expert = args.expert + blockIdx.x * choices;
    // There are few blocks: several reads in flight.
    for (std::int64_t base = 0; base < choices; base += kFractionReads * kFractionThreads) {
      int chosen[kFractionReads];
#pragma unroll
      for (int i = 0; i < kFractionReads; ++i) {
        const std::int64_t c = base + i * kFractionThreads + threadIdx.x;
        chosen[i] = c < choices ? expert[c] : -1;
      }
#pragma unroll
      for (int i = 0; i < kFractionReads; ++i) count_by_warp(histogram, chosen[i]);
    }
  }
  __syncthreads();
  float* fraction = args.fraction + static_cast<std::int64_t>(blockIdx.x) * args.experts;
  for (int e = threadIdx.x; e < args.experts; e += kFractionThreads) {
    fraction[e] = static_cast<float>(histogram[e]) / static_cast<float>(choices);
  }
}

template <int kPerLane>
__global__ void __launch_bounds__(kThreads) token_losses(const Args args) {
  __shared__ double sums[kWarps];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int step = static_cast<int>(gridDim.x) * kWarps;
  double balance = 0, squares = 0;
  for (int t = static_cast<int>(blockIdx.x) * kWarps + warp; t < args.tokens; t += step) {
    const std::int64_t row = static_cast<std::int64_t>(t) * args.experts;
    const int sequence = args.sequence ? args.sequence[t] : t / args.length;
    if (sequence < 0) continue;
    const float* fraction = args.fraction + static_cast<std::int64_t>(sequence) * args.experts;
    double product = 0, sum = 0;
    for_each_expert<kPerLane>(args.experts, [&](int, int e) {
      const double s = args.scores[row + e];
      product += s * fraction[e];
      sum += s;
    });
    balance += warp_reduce(product) / (warp_reduce(sum) + kTinySum);
    const double lse = log_sum_exp<kPerLane>(args.logits + row, args.experts);
    squares += lse * lse;
  }
  // Every lane of a warp holds the warp's sums.
  for (int i = 0; i < 2; ++i) {
    if (lane_id() == 0) sums[warp] = i == 0 ? balance : squares;
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0;
      for (int w = 0; w < kWarps; ++w) total += sums[w];
      args.partials[2 * blockIdx.x + i] = total;
    }
    __syncthreads();
  }
}

/// One block.
__global__ void __launch_bounds__(kFinishThreads) finish_losses(const Args args) {
  __shared__ double sums[2][kWarp];
  double balance = 0, squares = 0;
  for (int b = threadIdx.x; b < args.blocks; b += kFinishThreads) {
    balance += args.partials[2 * b];
    squares += args.partials[2 * b + 1];
  }
  balance = block_reduce(balance, sums[0]);
  squares = block_reduce(squares, sums[1]);
  if (threadIdx.x != 0) return;
  args.aux[0] += static_cast<double>(args.experts) * balance / static_cast<double>(args.length);
  args.z[0] += squares;
}

}  // namespace

std::string unsupported(const RouteFraction& op) {
  return unsupported_logits(op.fraction);
}

std::string unsupported(const RouteLosses& op) {
  return unsupported_logits(op.logits);
}

void run(const RouteFraction& op, const Stream& stream) {
  const std::int64_t tokens = op.expert.shape[0], sequences = op.fraction.shape[0];
  const FractionArgs args{
      .expert = op.expert.as<std::int32_t>(),
      .sequence = op.sequence.as<std::int32_t>(),
      .fraction = op.fraction.as<float>(),
      .tokens = static_cast<int>(tokens),
      .experts = static_cast<int>(op.fraction.shape[1]),
      .chosen = static_cast<int>(op.expert.shape[1]),
      .length = static_cast<int>(op.sequence.defined() ? op.length : tokens / sequences)};
  const std::size_t histogram = static_cast<std::size_t>(args.experts) * sizeof(int);
  const Call call{op.kName, stream, {op.expert, op.fraction}};
  launch_kernel(call, {static_cast<unsigned>(sequences), kFractionThreads, histogram},
                choice_fractions, args);
}

void run(const RouteLosses& op, const Stream& stream) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const unsigned blocks = token_blocks(tokens);
  void* partials = Context::current().workspace(stream, blocks * 2 * sizeof(double));
  const Args args{
      .logits = op.logits.as<float>(),
      .scores = op.scores.as<float>(),
      .fraction = op.fraction.as<float>(),
      .sequence = op.sequence.as<std::int32_t>(),
      .partials = static_cast<double*>(partials),
      .aux = op.aux.as<double>(),
      .z = op.z.as<double>(),
      .tokens = static_cast<int>(tokens),
      .experts = static_cast<int>(experts),
      .length = static_cast<int>(op.sequence.defined() ? op.length : tokens / op.fraction.shape[0]),
      .blocks = static_cast<int>(blocks)};
  const Call call{op.kName, stream, {op.logits, op.fraction}};
  with_experts(experts, [&](auto per_lane) {
    launch_kernel(call, {blocks, kThreads}, token_losses<per_lane()>, args);
  });
  launch_kernel(call, {1, kFinishThreads}, finish_losses, args);
}

}  // namespace strait::kernels::cuda
