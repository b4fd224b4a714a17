#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route_support.h"
#include "kernels/cuda/run.h"
#include "kernels/cuda/wide_parts.h"
#include "kernels/routing.h"

namespace strait::kernels::cuda {
namespace {

using namespace route;

struct Args {
  const float* logits;
  float* made;  // the logits where they are to be made of their parts, or null
  WideParts parts;
  const float* bias;  // or null
  float* scores;
  int* expert;
  float* weight;
  unsigned long long* counts;
  const int* sequence;  // or null
  const int* place;     // or null: rows are sequences of `length`
  int tokens, experts, chosen, groups, top_groups, forced, length;
  float scale;
  bool softmax, renormalise;
};

/// Shared memory of one warp.
struct Scratch {
  float* choice;        // [experts]
  int* kept;            // [groups]
  int* chosen;          // [chosen]
  float* chosen_score;  // [chosen]

  static __host__ __device__ int words(const Args& args) {
    return args.experts + args.groups + 2 * args.chosen;
  }
  __device__ Scratch(int* memory, const Args& args)
      : choice(reinterpret_cast<float*>(memory)),
        kept(memory + args.experts),
        chosen(kept + args.groups),
        chosen_score(reinterpret_cast<float*>(chosen + args.chosen)) {}
};

template <int kPerLane>
__device__ __forceinline__ void score(const Args& args, const float* logits,
                                      float (&scores)[kPerLane]) {
  if (!args.softmax) {
    for_each_expert<kPerLane>(args.experts,
                              [&](int i, int e) { scores[i] = 1.0f / (1.0f + expf(-logits[e])); });
    return;
  }
  float top = -INFINITY, sum = 0;
  for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
    scores[i] = logits[e];
    top = fmaxf(top, scores[i]);
  });
  top = warp_reduce(top, Max{});
  for_each_expert<kPerLane>(args.experts, [&](int i, int) {
    scores[i] = expf(scores[i] - top);
    sum += scores[i];
  });
  sum = warp_reduce(sum);
  for_each_expert<kPerLane>(args.experts, [&](int i, int) { scores[i] /= sum; });
}

/// Takes the experts outside the best top_groups groups out of the choice. A group is judged by the
/// sum of its two best choices.
template <int kPerLane>
__device__ __forceinline__ void exclude_groups(const Args& args, const Scratch& scratch,
                                               unsigned (&keys)[kPerLane]) {
  const int width = args.experts / args.groups;
  unsigned group_keys[kPerLane] = {};
  __syncwarp();
  for_each_expert<kPerLane>(args.groups, [&](int i, int g) {
    const float* choice = scratch.choice + g * width;
    float first = choice[0], second = -INFINITY;
    for (int m = 1; m < width; ++m) {
      second = fmaxf(second, fminf(first, choice[m]));
      first = fmaxf(first, choice[m]);
    }
    group_keys[i] = order_key(width > 1 ? first + second : first);
    scratch.kept[g] = 0;
  });
  __syncwarp();
  for (int i = 0; i < args.top_groups; ++i) {
    const int best = take_best(group_keys);
    if (lane_id() == 0) scratch.kept[best] = 1;
  }
  __syncwarp();
  for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
    if (scratch.kept[e / width] == 0) keys[i] = 0;
  });
}

__device__ __forceinline__ int forced_expert(const Args& args, int token, int k) {
  const int place = args.place ? args.place[token] : token % args.length;
  return static_cast<int>((static_cast<std::int64_t>(place) * args.chosen + k) % args.forced);
}

template <int kPerLane>
__device__ __forceinline__ void route_token(const Args& args, const Scratch& scratch, int token,
                                            int* histogram) {
  const std::int64_t row = static_cast<std::int64_t>(token) * args.experts;
  float scores[kPerLane] = {};
  if (args.made) {
    for_each_expert<kPerLane>(args.experts,
                              [&](int, int e) { args.made[row + e] = args.parts(token, e); });
  }
  score(args, args.logits + row, scores);
  // Choose.
  unsigned keys[kPerLane] = {};
  for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
    args.scores[row + e] = scores[i];
    const float choice = scores[i] + (args.bias ? args.bias[e] : 0.0f);
    scratch.choice[e] = choice;
    keys[i] = order_key(choice);
  });
  if (args.top_groups < args.groups) exclude_groups(args, scratch, keys);
  for (int k = 0; k < args.chosen; ++k) {
    const int best = args.forced > 0 ? forced_expert(args, token, k) : take_best(keys);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if (best == i * kWarp + lane_id()) {
        scratch.chosen[k] = best;
        scratch.chosen_score[k] = scores[i];
      }
    }
  }
  __syncwarp();
  // Weigh.
  float sum = 0;
  for (int k = lane_id(); k < args.chosen; k += kWarp) sum += scratch.chosen_score[k];
  sum = warp_reduce(sum);
  const float divisor = args.renormalise ? sum + kTinySum : 1.0f;
  const std::int64_t choices = static_cast<std::int64_t>(token) * args.chosen;
  const bool counted = !args.sequence || args.sequence[token] >= 0;
  for (int k = lane_id(); k < args.chosen; k += kWarp) {
    args.expert[choices + k] = scratch.chosen[k];
    args.weight[choices + k] = scratch.chosen_score[k] / divisor * args.scale;
    if (counted) atomicAdd(&histogram[scratch.chosen[k]], 1);
  }
  __syncwarp();
}

template <int kPerLane>
__global__ void __launch_bounds__(kThreads) route_kernel(const Args args) {
  extern __shared__ int memory[];
  int* histogram = memory;  // [experts]
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const Scratch scratch(memory + args.experts + warp * Scratch::words(args), args);
  for (int e = threadIdx.x; e < args.experts; e += kThreads) histogram[e] = 0;
  __syncthreads();
  const int step = static_cast<int>(gridDim.x) * kWarps;
  for (int t = static_cast<int>(blockIdx.x) * kWarps + warp; t < args.tokens; t += step) {
    route_token<kPerLane>(args, scratch, t, histogram);
  }
  __syncthreads();
  // Whole numbers: the order of the additions does not matter.
  for (int e = threadIdx.x; e < args.experts; e += kThreads) {
    if (histogram[e] != 0)
      atomicAdd(&args.counts[e], static_cast<unsigned long long>(histogram[e]));
  }
}

}  // namespace

std::string unsupported(const RouteFwd& op) {
  std::string reason = unsupported_logits(op.logits);
  constexpr std::int64_t kMaxChosen = 64;
  if (reason.empty() && op.expert.shape[1] > kMaxChosen) {
    reason = "expert: the CUDA backend chooses at most " + std::to_string(kMaxChosen) +
             " experts per token, got " + op.expert.shape_string() + "; choose fewer";
  }
  return reason;
}

void run(const RouteFwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.logits, op.expert}};
  const bool in_parts = op.product.x.defined() && op.product.x.dtype == DType::bf16;
  if (op.product.x.defined() && !in_parts) run(op.product, stream);
  const Args args{.logits = op.logits.as<float>(),
                  .made = in_parts ? op.product.y.as<float>() : nullptr,
                  .parts = in_parts ? multiply_parts(op.product, call) : WideParts{},
                  .bias = op.bias.as<float>(),
                  .scores = op.scores.as<float>(),
                  .expert = op.expert.as<std::int32_t>(),
                  .weight = op.weight.as<float>(),
                  .counts = static_cast<unsigned long long*>(op.counts.data),
                  .sequence = op.sequence.as<std::int32_t>(),
                  .place = op.place.as<std::int32_t>(),
                  .tokens = static_cast<int>(op.logits.shape[0]),
                  .experts = static_cast<int>(op.logits.shape[1]),
                  .chosen = static_cast<int>(op.expert.shape[1]),
                  .groups = static_cast<int>(op.rule.groups),
                  .top_groups = static_cast<int>(op.rule.top_groups),
                  .forced = static_cast<int>(op.rule.forced),
                  .length = static_cast<int>(op.length),
                  .scale = static_cast<float>(op.rule.scale),
                  .softmax = op.rule.score == RouterScore::softmax,
                  .renormalise = op.rule.renormalise};
  const std::size_t shared =
      sizeof(int) * static_cast<std::size_t>(args.experts + kWarps * Scratch::words(args));
  with_experts(args.experts, [&](auto per_lane) {
    launch_kernel(call, {token_blocks(args.tokens), kThreads, shared}, route_kernel<per_lane()>,
                  args);
  });
}

}  // namespace strait::kernels::cuda
