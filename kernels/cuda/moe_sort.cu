#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"

// Stable counting sort of choices by expert in two launches: count each block's run of choices,
// then place them, each block from all counts. All in integers, so any order of addition gives the
// same result.
namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kWarpChoices = 256;  // consecutive choices of one warp
constexpr int kBlockChoices = kWarps * kWarpChoices;
constexpr int kMaxExperts = 1024;

struct Args {
  const int* expert;  // [choices]
  int* counts;        // [blocks, experts]: choices of the block
  int* offsets;       // [experts + 1]
  int* row_of;        // [choices]
  int* choice_of;     // [choices]
  int choices, experts, blocks;
};

__global__ void __launch_bounds__(kThreads) count_choices(const Args args) {
  extern __shared__ int histogram[];
  for (int e = threadIdx.x; e < args.experts; e += kThreads) histogram[e] = 0;
  __syncthreads();
  const int first = blockIdx.x * kBlockChoices;
  const int last = min(first + kBlockChoices, args.choices);
  for (int c = first + static_cast<int>(threadIdx.x); c < last; c += kThreads) {
    atomicAdd(&histogram[args.expert[c]], 1);
  }
  __syncthreads();
  int* counts = args.counts + static_cast<std::int64_t>(blockIdx.x) * args.experts;
  for (int e = threadIdx.x; e < args.experts; e += kThreads) counts[e] = histogram[e];
}

/// The first row of each expert, and of this block's choices of it, from the counts of all blocks.
/// The first block writes the offsets.
__device__ __forceinline__ void find_rows(const Args& args, int* totals, int* own) {
  for (int e = threadIdx.x; e < args.experts; e += kThreads) {
    int total = 0, before = 0;
#pragma unroll 8
    for (int b = 0; b < args.blocks; ++b) {
      const int count = args.counts[static_cast<std::int64_t>(b) * args.experts + e];
      total += count;
      if (b < static_cast<int>(blockIdx.x)) before += count;
    }
    totals[e] = total;
    own[e] = before;
  }
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  const int lane = static_cast<int>(threadIdx.x);
  for (int base = 0, rows = 0; base < args.experts; base += kWarp) {
    const int e = base + lane, total = e < args.experts ? totals[e] : 0;
    int through = total;
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const int lower = __shfl_up_sync(kAllLanes, through, step);
      if (lane >= step) through += lower;
    }
    if (e < args.experts) own[e] += rows + through - total;
    if (e < args.experts && blockIdx.x == 0) args.offsets[e] = rows + through - total;
    rows += __shfl_sync(kAllLanes, through, kWarp - 1);
    if (lane == 0 && blockIdx.x == 0) args.offsets[args.experts] = rows;
  }
}

/// Every warp walks its run of choices in order, so rows of an expert stay in order.
__global__ void __launch_bounds__(kThreads) place_choices(const Args args) {
  extern __shared__ int next_row[];  // [warps, experts], then [experts] twice
  int* const totals = next_row + kWarps * args.experts;
  int* const own_row = totals + args.experts;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  int* next = next_row + warp * args.experts;
  const int first = blockIdx.x * kBlockChoices + warp * kWarpChoices;
  const int last = min(first + kWarpChoices, args.choices);
  for (int e = lane; e < args.experts; e += kWarp) next[e] = 0;
  __syncwarp();
  for (int c = first + lane; c < last; c += kWarp) atomicAdd(&next[args.expert[c]], 1);
  find_rows(args, totals, own_row);
  __syncthreads();
  // From counts to the first row of each warp.
  for (int e = threadIdx.x; e < args.experts; e += kThreads) {
    int row = own_row[e];
    for (int w = 0; w < kWarps; ++w) {
      const int count = next_row[w * args.experts + e];
      next_row[w * args.experts + e] = row;
      row += count;
    }
  }
  __syncthreads();
  for (int base = first; base < last; base += kWarp) {
    const int c = base + lane;
    const unsigned active = __ballot_sync(kAllLanes, c < last);
    if (c < last) {
      const int e = args.expert[c];
      const unsigned same = __match_any_sync(active, e);
      const int row = next[e] + __popc(same & ((1u << lane) - 1));
      args.row_of[c] = row;
      args.choice_of[row] = c;
      __syncwarp(active);
      if ((same & ((1u << lane) - 1)) == 0) next[e] += __popc(same);
    }
    __syncwarp();
  }
}

}  // namespace

std::string unsupported(const MoeSort& op) {
  const std::int64_t experts = op.offsets.shape[0] - 1;
  if (experts <= kMaxExperts) return {};
  return "offsets: the CUDA backend sorts at most " + std::to_string(kMaxExperts) +
         " experts, got " + std::to_string(experts) + "; use fewer experts";
}

void run(const MoeSort& op, const Stream& stream) {
  const std::int64_t choices = op.expert.numel(), experts = op.offsets.shape[0] - 1;
  const unsigned blocks = blocks_for(choices, kBlockChoices);
  const std::size_t histogram = static_cast<std::size_t>(experts) * sizeof(int);
  void* counts = Context::current().workspace(stream, std::max(1u, blocks) * histogram);
  const Args args{.expert = op.expert.as<std::int32_t>(),
                  .counts = static_cast<int*>(counts),
                  .offsets = op.offsets.as<std::int32_t>(),
                  .row_of = op.row_of.as<std::int32_t>(),
                  .choice_of = op.choice_of.as<std::int32_t>(),
                  .choices = static_cast<int>(choices),
                  .experts = static_cast<int>(experts),
                  .blocks = static_cast<int>(blocks)};
  const Call call{op.kName, stream, {op.expert, op.offsets}};
  launch_kernel(call, {blocks, kThreads, histogram}, count_choices, args);
  launch_kernel(call, {std::max(1u, blocks), kThreads, (kWarps + 2) * histogram}, place_choices,
                args);
}

}  // namespace strait::kernels::cuda
