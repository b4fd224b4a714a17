#include "kernels/cross_entropy.h"

#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kRowThreads = 512;
constexpr int kLossThreads = 1024;

/// One block per row, one pass; the threads' sums merge in double.
template <class T, int kWidth>
__global__ __launch_bounds__(kRowThreads) void cross_entropy_stats(const T* logits,
                                                                   std::int64_t stride,
                                                                   Labels labels, float* stats,
                                                                   std::int64_t stats_stride) {
  using P = Packet<T, kWidth>;
  __shared__ float maxima[kWarp];
  __shared__ double sums[kWarp];
  const std::int64_t row = blockIdx.x;
  const T* x = logits + row * stride;
  Online online;
  const std::int64_t whole = labels.vocab / kWidth * kWidth;
  constexpr std::int64_t kStep = kRowThreads * kWidth;
  // Two loads in flight before the first is used.
  for (std::int64_t c = threadIdx.x * kWidth; c < whole; c += 2 * kStep) {
    const P near = P::load(x + c);
    const bool more = c + kStep < whole;
    const P far = more ? P::load(x + c + kStep) : near;
    online.add(near.floats());
    if (more) online.add(far.floats());
  }
  if (whole + threadIdx.x < labels.vocab) {
    online.add(Floats<1>{{to_float(x[whole + threadIdx.x])}});
  }

  const float max = block_reduce(online.max, maxima, -INFINITY, Max{});
  const Online all{max, 0};
  const double scaled = online.max == -INFINITY
                            ? 0.0
                            : static_cast<double>(online.sum) * expf(online.max - all.shift());
  const double sum = block_reduce(scaled, sums);
  if (threadIdx.x != 0) return;

  // Merge with what earlier blocks of the vocabulary left.
  float* out = stats + row * stats_stride;
  const Online merged{fmaxf(out[0], max), 0};
  const double old_scale = exp(static_cast<double>(out[0]) - merged.shift());
  const double new_scale = exp(static_cast<double>(all.shift()) - merged.shift());
  out[1] = static_cast<float>(out[1] * old_scale + (max == -INFINITY ? 0.0 : sum * new_scale));
  out[0] = merged.max;
  const std::int64_t column = labels.column(row);
  if (column >= 0) out[2] = to_float(x[column]);
}

/// One block walks all rows; the total is summed in thread, then tree order.
__global__ __launch_bounds__(kLossThreads) void cross_entropy_loss(const float* stats,
                                                                   std::int64_t stats_stride,
                                                                   const std::int32_t* labels,
                                                                   std::int64_t rows, float* lse,
                                                                   float* loss, double* loss_sum) {
  __shared__ double partials[kWarp];
  double total = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += kLossThreads) {
    const float* s = stats + row * stats_stride;
    const double max = s[0], log_sum = log(static_cast<double>(s[1]));
    lse[row] = static_cast<float>(max + log_sum);
    // The large parts cancel first: lse alone would round away the digits of a small loss.
    const double value = labels[row] == kIgnoreLabel ? 0.0 : (max - s[2]) + log_sum;
    if (loss) loss[row] = static_cast<float>(value);
    total += value;
  }
  total = block_reduce(total, partials);
  if (threadIdx.x == 0) *loss_sum += total;
}

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void cross_entropy_bwd(MatrixCut cut, const T* logits,
                                                                 std::int64_t stride, Labels labels,
                                                                 const float* lse, T* dlogits,
                                                                 std::int64_t out_stride,
                                                                 const double* scale_at) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  Floats<kWidth> dx = {};
  if (labels.data[row] != kIgnoreLabel) {
    const Packet<T, kWidth> x = Packet<T, kWidth>::load(logits + row * stride + c, left);
    const float by = lse[row], scale = scale_at ? static_cast<float>(*scale_at) : 1.0f;
    const std::int64_t column = labels.column(row) - c;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dx[j] = scale * exp_for<T>(x.get(j) - by);
      if (column == j) dx[j] -= scale;
    }
  }
  Packet<T, kWidth>::from(dx).store(dlogits + row * out_stride + c, left);
}

template <class Op>
Labels labels_of(const Op& op) {
  return {op.labels.template as<std::int32_t>(), op.vocab_begin, op.logits.shape[1]};
}

}  // namespace

std::string unsupported(const CrossEntropyStats& op) {
  return unsupported_compute("logits", op.logits);
}

std::string unsupported(const CrossEntropyLoss& op) {
  return unsupported_compute("stats", op.stats);
}

std::string unsupported(const CrossEntropyBwd& op) {
  return unsupported_compute("logits", op.logits);
}

void run(const CrossEntropyStats& op, const Stream& stream) {
  with_real(op.logits.dtype, CrossEntropyStats::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(aligned_rows(op.logits), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      launch_kernel({CrossEntropyStats::kName, stream, {op.logits}},
                    {static_cast<unsigned>(op.logits.shape[0]), kRowThreads},
                    cross_entropy_stats<T, kWidth>, op.logits.as<T>(), op.logits.stride[0],
                    labels_of(op), op.stats.as<float>(), op.stats.stride[0]);
    });
  });
}

void run(const CrossEntropyLoss& op, const Stream& stream) {
  launch_kernel({CrossEntropyLoss::kName, stream, {op.stats}}, {1, kLossThreads},
                cross_entropy_loss, op.stats.as<float>(), op.stats.stride[0],
                op.labels.as<std::int32_t>(), op.stats.shape[0], op.lse.as<float>(),
                op.loss.as<float>(), op.loss_sum.as<double>());
}

void run(const CrossEntropyBwd& op, const Stream& stream) {
  with_real(op.logits.dtype, CrossEntropyBwd::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.logits, op.dlogits), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = make_cut(op.logits.shape[0], op.logits.shape[1], kWidth);
      launch_kernel({CrossEntropyBwd::kName, stream, {op.logits}}, grid_of(cut),
                    cross_entropy_bwd<T, kWidth>, cut, op.logits.as<T>(), op.logits.stride[0],
                    labels_of(op), op.lse.as<float>(), op.dlogits.as<T>(), op.dlogits.stride[0],
                    op.scale.as<double>());
    });
  });
}

}  // namespace strait::kernels::cuda
