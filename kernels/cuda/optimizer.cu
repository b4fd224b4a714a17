#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// The step's constants, worked out in double and rounded once.
struct AdamConstants {
  explicit AdamConstants(const AdamW& op)
      : beta1(static_cast<float>(op.beta1)),
        rest1(static_cast<float>(1 - op.beta1)),
        beta2(static_cast<float>(op.beta2)),
        rest2(static_cast<float>(1 - op.beta2)),
        step_size(
            static_cast<float>(op.lr / (1 - std::pow(op.beta1, static_cast<double>(op.step))))),
        correction2(static_cast<float>(1 / (1 - std::pow(op.beta2, static_cast<double>(op.step))))),
        eps(static_cast<float>(op.eps)),
        shrink(static_cast<float>(op.lr * op.decay)) {}
  float beta1, rest1, beta2, rest2, step_size, correction2, eps, shrink;
};

struct AdamTensors {
  const void* g;
  float* m;
  float* v;
  const double* grad_scale;
  void* w_compute;  // or null
  bool g_bf16, w_compute_bf16;
};

template <class W, int kWidth>
__global__ __launch_bounds__(kCutThreads) void adamw(std::int64_t n, W* weights, AdamTensors t,
                                                     AdamConstants k) {
  const std::int64_t i =
      (blockIdx.x * static_cast<std::int64_t>(kCutThreads) + threadIdx.x) * kWidth;
  const std::int64_t left = n - i;
  if (left <= 0) return;
  using States = Packet<float, kWidth>;
  Floats<kWidth> w = Packet<W, kWidth>::load(weights + i, left).floats();
  Floats<kWidth> m = States::load(t.m + i, left).floats();
  Floats<kWidth> v = States::load(t.v + i, left).floats();
  const Floats<kWidth> g = load_wide<kWidth>(t.g, t.g_bf16, i, left);
  const float scale = static_cast<float>(*t.grad_scale);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float gradient = g[j] * scale;
    m[j] = k.beta1 * m[j] + k.rest1 * gradient;
    v[j] = k.beta2 * v[j] + k.rest2 * gradient * gradient;
    w[j] -= k.step_size * m[j] / (sqrtf(v[j] * k.correction2) + k.eps) + k.shrink * w[j];
  }
  Packet<W, kWidth>::from(w).store(weights + i, left);
  States::from(m).store(t.m + i, left);
  States::from(v).store(t.v + i, left);
  if (t.w_compute) store_wide<kWidth>(t.w_compute, t.w_compute_bf16, i, w, left);
}

/// Packets a thread adds up, so that blocks and thus the order are fixed by n alone.
constexpr std::int64_t kSumPackets = 8;
constexpr std::int64_t kMaxSumBlocks = 1024;

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void sum_squares(const T* x, std::int64_t n,
                                                           double* sums) {
  __shared__ double partials[kWarp];
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kCutThreads * kWidth;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i =
           (blockIdx.x * static_cast<std::int64_t>(kCutThreads) + threadIdx.x) * kWidth;
       i < n; i += step) {
    const Packet<T, kWidth> packet = Packet<T, kWidth>::load(x + i, n - i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const double value = packet.get(j);
      sum = fma(value, value, sum);
    }
  }
  sum = block_reduce(sum, partials);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ __launch_bounds__(kMaxSumBlocks) void add_sums(const double* sums, int count,
                                                          double* out) {
  __shared__ double partials[kWarp];
  const double sum =
      block_reduce(static_cast<int>(threadIdx.x) < count ? sums[threadIdx.x] : 0.0, partials);
  if (threadIdx.x == 0) *out += sum;
}

__global__ void clip_scale(const double* sum_squares, double* norm, double* scale,
                           double max_norm) {
  const double value = sqrt(*sum_squares);
  *norm = value;
  *scale = max_norm > 0 ? fmin(1.0, max_norm / (value + 1e-6)) : 1.0;
}

}  // namespace

std::string unsupported(const AdamW& op) {
  std::string why = unsupported_compute("w", op.w);
  if (why.empty()) why = unsupported_compute("g", op.g);
  return why.empty() ? unsupported_compute("w_compute", op.w_compute) : why;
}

std::string unsupported(const SumSquares& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const ClipScale&) {
  return {};
}

void run(const AdamW& op, const Stream& stream) {
  const AdamTensors tensors{.g = op.g.data,
                            .m = op.m.as<float>(),
                            .v = op.v.as<float>(),
                            .grad_scale = op.grad_scale.as<double>(),
                            .w_compute = op.w_compute.data,
                            .g_bf16 = op.g.dtype == DType::bf16,
                            .w_compute_bf16 = op.w_compute.dtype == DType::bf16};
  const std::int64_t n = op.w.shape[0];
  with_real(op.w.dtype, AdamW::kName, [&](auto real) {
    using W = decltype(real);
    with_packets<float>(all_aligned(op.w, op.g, op.m, op.v, op.w_compute), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      launch_kernel({AdamW::kName, stream, {op.w, op.g}},
                    {blocks_for(n, kCutThreads * kWidth), kCutThreads}, adamw<W, kWidth>, n,
                    op.w.as<W>(), tensors, AdamConstants(op));
    });
  });
}

void run(const SumSquares& op, const Stream& stream) {
  const std::int64_t n = op.x.shape[0];
  if (n == 0) return;
  auto* sums =
      static_cast<double*>(Context::current().workspace(stream, kMaxSumBlocks * sizeof(double)));
  with_real(op.x.dtype, SumSquares::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(aligned_rows(op.x), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const std::int64_t blocks =
          std::min(ceil_div(n, kCutThreads * kWidth * kSumPackets), kMaxSumBlocks);
      launch_kernel({SumSquares::kName, stream, {op.x}},
                    {static_cast<unsigned>(blocks), kCutThreads}, sum_squares<T, kWidth>,
                    op.x.as<T>(), n, sums);
      launch_kernel({SumSquares::kName, stream, {op.x}}, {1, kMaxSumBlocks}, add_sums, sums,
                    static_cast<int>(blocks), op.out.as<double>());
    });
  });
}

void run(const ClipScale& op, const Stream& stream) {
  launch_kernel({ClipScale::kName, stream}, {1, 1}, clip_scale, op.sum_squares.as<double>(),
                op.norm.as<double>(), op.scale.as<double>(), op.max_norm);
}

}  // namespace strait::kernels::cuda
