#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/routing.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 512;

/// Of one block; the same in every thread.
__device__ long long total_of(const long long* counts, int experts, long long* sums) {
  long long total = 0;
  for (int e = threadIdx.x; e < experts; e += kThreads) total += counts[e];
  return block_reduce(total, sums, 0ll);
}

/// One block. Whole numbers until the sign: no rounding near balance.
__global__ void __launch_bounds__(kThreads)
    step_by_sign(const long long* counts, float* bias, int experts, float rate) {
  __shared__ long long sums[kWarp];
  const long long total = total_of(counts, experts, sums);
  for (int e = threadIdx.x; e < experts; e += kThreads) {
    const long long lack = total - experts * counts[e];
    bias[e] += rate * static_cast<float>((lack > 0) - (lack < 0));
  }
}

struct AdamArgs {
  const long long* counts;
  float *bias, *m, *v, *steps;
  int experts;
  float rate, beta1, beta2, eps;
};

/// One block.
__global__ void __launch_bounds__(kThreads) step_by_adamw(const AdamArgs args) {
  __shared__ long long sums[kWarp];
  const long long total = total_of(args.counts, args.experts, sums);
  if (total == 0) return;
  const float steps = *args.steps + 1;
  const float unbias1 = 1 - powf(args.beta1, steps), unbias2 = 1 - powf(args.beta2, steps);
  for (int e = threadIdx.x; e < args.experts; e += kThreads) {
    const long long excess = args.experts * args.counts[e] - total;
    const float g =
        static_cast<float>(excess) / static_cast<float>(args.experts) / static_cast<float>(total);
    const float m = args.m[e] = args.beta1 * args.m[e] + (1 - args.beta1) * g;
    const float v = args.v[e] = args.beta2 * args.v[e] + (1 - args.beta2) * g * g;
    args.bias[e] -= args.rate * (m / unbias1) / (sqrtf(v / unbias2) + args.eps);
  }
  __syncthreads();
  if (threadIdx.x == 0) *args.steps = steps;
}

std::string unsupported_bias(const Tensor& bias) {
  if (bias.dtype == DType::f32) return {};
  return "bias: the CUDA backend routes in f32, got " + bias.shape_string() +
         "; set precision.compute to f32 or bf16, or run.device to cpu";
}

const long long* counts_of(const ConstTensor& counts) {
  return static_cast<const long long*>(counts.data);
}

}  // namespace

std::string unsupported(const RouterBiasUpdate& op) {
  return unsupported_bias(op.bias);
}

std::string unsupported(const RouterBiasAdamW& op) {
  return unsupported_bias(op.bias);
}

void run(const RouterBiasUpdate& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.counts, op.bias}};
  launch_kernel(call, {1, kThreads}, step_by_sign, counts_of(op.counts), op.bias.as<float>(),
                static_cast<int>(op.counts.shape[0]), static_cast<float>(op.rate));
}

void run(const RouterBiasAdamW& op, const Stream& stream) {
  const AdamArgs args{.counts = counts_of(op.counts),
                      .bias = op.bias.as<float>(),
                      .m = op.m.as<float>(),
                      .v = op.v.as<float>(),
                      .steps = op.steps.as<float>(),
                      .experts = static_cast<int>(op.counts.shape[0]),
                      .rate = static_cast<float>(op.rate),
                      .beta1 = static_cast<float>(op.beta1),
                      .beta2 = static_cast<float>(op.beta2),
                      .eps = static_cast<float>(op.eps)};
  const Call call{op.kName, stream, {op.counts, op.bias}};
  launch_kernel(call, {1, kThreads}, step_by_adamw, args);
}

}  // namespace strait::kernels::cuda
