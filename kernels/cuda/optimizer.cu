#include "kernels/optimizer.h"

#include <algorithm>
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/square_sum.cuh"
#include "kernels/cuda/support.h"
#include "kernels/stochastic.h"

namespace strait::kernels::cuda {
namespace {

/// The run's constants, worked out in double and rounded once.
struct AdamConstants {
  explicit AdamConstants(const AdamW& op)
      : beta1(static_cast<float>(op.beta1)),
        rest1(static_cast<float>(1 - op.beta1)),
        beta2(static_cast<float>(op.beta2)),
        rest2(static_cast<float>(1 - op.beta2)),
        eps(static_cast<float>(op.eps)),
        decay(op.decay),
        seed(op.seed),
        first_index(op.first_index) {}
  float beta1, rest1, beta2, rest2, eps;
  double decay;
  std::uint64_t seed;
  std::int64_t first_index;
};

struct AdamTensors {
  const void* g;
  void* m;
  void* v;
  const double* grad_scale;
  const double* rates;
  void* w_compute;  // or null
  bool g_bf16, w_compute_bf16;
};

/// The step's factors, rounded once from doubles by one thread of a block.
struct AdamFactors {
  float scale, step_size, correction2, shrink;
  std::uint64_t key;
  bool moves;

  __device__ void work_out(const AdamTensors& t, const AdamConstants& k) {
    scale = static_cast<float>(*t.grad_scale);
    step_size = static_cast<float>(t.rates[0] / t.rates[1]);
    correction2 = static_cast<float>(1.0 / t.rates[2]);
    shrink = static_cast<float>(t.rates[0] * k.decay);
    key = rounding_key(k.seed, static_cast<std::uint64_t>(t.rates[3]));
    moves = t.rates[3] != 0;
  }
};

/// Stores states m, v of elements i .. i + kWidth: as they are, or rounded stochastically.
template <class S, int kWidth>
__device__ __forceinline__ void store_states(const AdamTensors& t, std::int64_t i,
                                             std::int64_t left, Floats<kWidth>& m,
                                             Floats<kWidth>& v, std::uint64_t key,
                                             std::int64_t first_index) {
  if constexpr (sizeof(S) == 2) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const std::uint64_t bits =
          rounding_bits(key, static_cast<std::uint64_t>(first_index + i + j));
      const std::uint32_t m16 = round_stochastic(m[j], static_cast<std::uint16_t>(bits));
      const std::uint32_t v16 = round_stochastic(v[j], static_cast<std::uint16_t>(bits >> 16));
      m[j] = __uint_as_float(m16 << 16);
      v[j] = __uint_as_float(v16 << 16);
    }
  }
  Packet<S, kWidth>::from(m).store(static_cast<S*>(t.m) + i, left);
  Packet<S, kWidth>::from(v).store(static_cast<S*>(t.v) + i, left);
}

template <class W, class S, int kWidth>
__global__ __launch_bounds__(kCutThreads) void adamw(std::int64_t n, W* weights, AdamTensors t,
                                                     AdamConstants k) {
  __shared__ AdamFactors factors;
  if (threadIdx.x == 0) factors.work_out(t, k);
  const std::int64_t i =
      (blockIdx.x * static_cast<std::int64_t>(kCutThreads) + threadIdx.x) * kWidth;
  const std::int64_t left = n - i;
  Floats<kWidth> w = {}, m = {}, v = {}, g = {};
  if (left > 0) {
    w = Packet<W, kWidth>::load(weights + i, left).floats();
    m = Packet<S, kWidth>::load(static_cast<const S*>(t.m) + i, left).floats();
    v = Packet<S, kWidth>::load(static_cast<const S*>(t.v) + i, left).floats();
    g = load_wide<kWidth>(t.g, t.g_bf16, i, left);
  }
  __syncthreads();
  if (left <= 0 || !factors.moves) return;
  const AdamFactors f = factors;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float gradient = g[j] * f.scale;
    m[j] = k.beta1 * m[j] + k.rest1 * gradient;
    v[j] = k.beta2 * v[j] + k.rest2 * gradient * gradient;
    w[j] -= f.step_size * m[j] / (sqrtf(v[j] * f.correction2) + k.eps) + f.shrink * w[j];
  }
  Packet<W, kWidth>::from(w).store(weights + i, left);
  if (t.w_compute) store_wide<kWidth>(t.w_compute, t.w_compute_bf16, i, w, left);
  store_states<S, kWidth>(t, i, left, m, v, f.key, k.first_index);
}

/// Packets a thread adds up, so that blocks and thus the order are fixed by n alone.
constexpr std::int64_t kSumPackets = 8;
constexpr std::int64_t kMaxSumBlocks = 1024;

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void sum_squares(const T* x, std::int64_t n,
                                                           double* sums) {
  const double sum = square_sum<T, kWidth, kCutThreads>(x, n, blockIdx.x, gridDim.x);
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

__global__ void step_guard(const double* loss, const double* norm, const double* limits,
                           double* rates) {
  const bool finite = isfinite(*loss) && isfinite(*norm);
  if (!finite || *loss > limits[0] || *norm > limits[1]) rates[3] = 0;
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

std::string unsupported(const StepGuard&) {
  return {};
}

void run(const AdamW& op, const Stream& stream) {
  const AdamTensors tensors{.g = op.g.data,
                            .m = op.m.data,
                            .v = op.v.data,
                            .grad_scale = op.grad_scale.as<double>(),
                            .rates = op.rates.as<double>(),
                            .w_compute = op.w_compute.data,
                            .g_bf16 = op.g.dtype == DType::bf16,
                            .w_compute_bf16 = op.w_compute.dtype == DType::bf16};
  const std::int64_t n = op.w.shape[0];
  with_real(op.w.dtype, AdamW::kName, [&](auto real) {
    using W = decltype(real);
    with_real(op.m.dtype, AdamW::kName, [&](auto state) {
      using S = decltype(state);
      with_packets<float>(all_aligned(op.w, op.g, op.m, op.v, op.w_compute), [&](auto packet) {
        constexpr int kWidth = decltype(packet)::value;
        launch_kernel({AdamW::kName, stream, {op.w, op.g}},
                      {blocks_for(n, kCutThreads * kWidth), kCutThreads}, adamw<W, S, kWidth>, n,
                      op.w.as<W>(), tensors, AdamConstants(op));
      });
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

void run(const StepGuard& op, const Stream& stream) {
  launch_kernel({StepGuard::kName, stream}, {1, 1}, step_guard, op.loss.as<double>(),
                op.norm.as<double>(), op.limits.as<double>(), op.rates.as<double>());
}

}  // namespace strait::kernels::cuda
