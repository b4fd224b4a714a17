#include "kernels/cuda/dtype.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route_support.h"
#include "kernels/cuda/run.h"
#include "kernels/routing.h"

namespace strait::kernels::cuda {
namespace {

using namespace route;

struct Args {
  const float* dweight;
  const float* logits;
  const float* scores;
  const int* expert;
  const float* fraction;  // [sequences, experts], read when balance is not 0
  const int* sequence;    // or null: whole sequences of `length` tokens
  float* dlogits;
  const int* row_of;
  void* parts;  // or null
  bool parts_bf16;
  std::int64_t parts_stride;
  int tokens, experts, chosen, length;
  const double* z_scale;    // or null: 1
  float scale, balance, z;  // balance: coefficient of sum_e f_e p_e of a token
  bool softmax, renormalise;
};

/// Transpose of the weighting: gradients of the chosen scores into `dscores`, zero elsewhere.
template <int kPerLane>
__device__ __forceinline__ void weigh_backward(const Args& args, int token, float* dscores) {
  const std::int64_t row = static_cast<std::int64_t>(token) * args.experts;
  const std::int64_t choices = static_cast<std::int64_t>(token) * args.chosen;
  for_each_expert<kPerLane>(args.experts, [&](int, int e) { dscores[e] = 0; });
  float sum = 0, product = 0;
  for (int k = lane_id(); k < args.chosen; k += kWarp) {
    const float score = args.scores[row + args.expert[choices + k]];
    sum += score;
    product = fmaf(args.dweight[choices + k], score, product);
  }
  sum = warp_reduce(sum) + kTinySum;
  product = warp_reduce(product);
  __syncwarp();
  for (int k = lane_id(); k < args.chosen; k += kWarp) {
    const float dweight = args.dweight[choices + k];
    const float gradient = args.renormalise ? (dweight - product / sum) / sum : dweight;
    dscores[args.expert[choices + k]] = args.scale * gradient;
  }
  __syncwarp();
}

/// What a product needs of a gradient, in the row of its token.
__device__ __forceinline__ void store_parts(const Args& args, int token, int e, float gradient) {
  const std::int64_t at = args.row_of[token] * args.parts_stride + e;
  if (!args.parts_bf16) {
    static_cast<float*>(args.parts)[at] = gradient;
    return;
  }
  bf16* const parts = static_cast<bf16*>(args.parts) + at;
  const bf16 hi = __float2bfloat16_rn(gradient);
  for (int i = 0; i < 3; ++i) parts[i * args.experts] = hi;
  parts[3 * args.experts] = __float2bfloat16_rn(gradient - __bfloat162float(hi));
}

/// gradient += coefficient d(sum_e f_e p_e)/dscores; f is constant, p depends on every score.
template <int kPerLane>
__device__ __forceinline__ void balance_backward(const Args& args, const float* fraction,
                                                 const float (&scores)[kPerLane],
                                                 float (&gradient)[kPerLane]) {
  float sum = 0, product = 0;
  for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
    sum += scores[i];
    product = fmaf(fraction[e], scores[i], product);
  });
  sum = warp_reduce(sum) + kTinySum;
  product = warp_reduce(product);
  for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
    gradient[i] += args.balance * (fraction[e] - product / sum) / sum;
  });
}

template <int kPerLane>
__global__ void __launch_bounds__(kThreads) route_backward(const Args args) {
  extern __shared__ float memory[];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  float* dscores = memory + warp * args.experts;
  const int step = static_cast<int>(gridDim.x) * kWarps;
  for (int t = static_cast<int>(blockIdx.x) * kWarps + warp; t < args.tokens; t += step) {
    const std::int64_t row = static_cast<std::int64_t>(t) * args.experts;
    weigh_backward<kPerLane>(args, t, dscores);
    float scores[kPerLane] = {}, gradient[kPerLane] = {};
    for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
      scores[i] = args.scores[row + e];
      gradient[i] = dscores[e];
    });
    const std::int64_t sequence = args.sequence ? args.sequence[t] : t / args.length;
    if (args.balance != 0 && sequence >= 0) {
      balance_backward(args, args.fraction + sequence * args.experts, scores, gradient);
    }
    // Through the score.
    float mean = 0;
    if (args.softmax) {
      for_each_expert<kPerLane>(args.experts,
                                [&](int i, int) { mean = fmaf(scores[i], gradient[i], mean); });
      mean = warp_reduce(mean);
    }
    for_each_expert<kPerLane>(args.experts, [&](int i, int) {
      gradient[i] = args.softmax ? scores[i] * (gradient[i] - mean)
                                 : gradient[i] * (scores[i] * (1.0f - scores[i]));
    });
    if (args.z != 0 && sequence >= 0) {
      const auto lse = static_cast<float>(log_sum_exp<kPerLane>(args.logits + row, args.experts));
      const float z = args.z_scale ? args.z * static_cast<float>(*args.z_scale) : args.z;
      for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
        gradient[i] = fmaf(2.0f * z * lse, expf(args.logits[row + e] - lse), gradient[i]);
      });
    }
    for_each_expert<kPerLane>(args.experts, [&](int i, int e) {
      args.dlogits[row + e] = gradient[i];
      if (args.parts) store_parts(args, t, e, gradient[i]);
    });
    __syncwarp();
  }
}

}  // namespace

std::string unsupported(const RouteBwd& op) {
  return unsupported_logits(op.logits);
}

void run(const RouteBwd& op, const Stream& stream) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t whole = op.aux_coef != 0 && !op.sequence.defined()
                                 ? tokens / op.fraction.shape[0]
                                 : std::max<std::int64_t>(1, tokens);
  const std::int64_t length = op.sequence.defined() ? op.length : whole;
  const double balance = op.aux_coef * static_cast<double>(experts) / static_cast<double>(length);
  const Args args{.dweight = op.dweight.as<float>(),
                  .logits = op.logits.as<float>(),
                  .scores = op.scores.as<float>(),
                  .expert = op.expert.as<std::int32_t>(),
                  .fraction = op.fraction.as<float>(),
                  .sequence = op.sequence.as<std::int32_t>(),
                  .dlogits = op.dlogits.as<float>(),
                  .row_of = op.row_of.as<std::int32_t>(),
                  .parts = op.parts.data,
                  .parts_bf16 = op.parts.dtype == DType::bf16,
                  .parts_stride = op.parts.defined() ? op.parts.stride[0] : 0,
                  .tokens = static_cast<int>(tokens),
                  .experts = static_cast<int>(experts),
                  .chosen = static_cast<int>(op.expert.shape[1]),
                  .length = static_cast<int>(length),
                  .z_scale = op.z_scale.as<double>(),
                  .scale = static_cast<float>(op.rule.scale),
                  .balance = static_cast<float>(balance),
                  .z = static_cast<float>(op.z_coef),
                  .softmax = op.rule.score == RouterScore::softmax,
                  .renormalise = op.rule.renormalise};
  const std::size_t shared = kWarps * static_cast<std::size_t>(experts) * sizeof(float);
  with_experts(experts, [&](auto per_lane) {
    launch_kernel({op.kName, stream, {op.logits, op.expert}},
                  {token_blocks(tokens), kThreads, shared}, route_backward<per_lane()>, args);
  });
}

}  // namespace strait::kernels::cuda
