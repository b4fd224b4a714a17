#include <limits>

#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kRowThreads = 512;
constexpr int kSumThreads = 1024;
constexpr int kStages = 4;  // parts of a row that are used as they arrive

template <class T>
struct Args {
  T* logits;
  std::int64_t stride;
  Labels labels;
  float* loss;     // or null
  double* losses;  // [rows]
  const double* scale;
};

/// One block per row, the row in shared memory. A thread comes back to its own packets, so that the
/// barriers of the sums are all there are.
template <class T>
__global__ __launch_bounds__(kRowThreads, 2) void cross_entropy_rows(const Args<T> args) {
  constexpr int kWidth = kPacket<T>;
  using P = Packet<T, kWidth>;
  extern __shared__ uint4 memory[];
  T* const row = reinterpret_cast<T*>(memory);
  __shared__ float maxima[kWarp];
  __shared__ double sums[kWarp];
  T* x = args.logits + blockIdx.x * args.stride;
  const auto vocab = static_cast<int>(args.labels.vocab);
  constexpr int kStep = kRowThreads * kWidth;
  const int stage = (vocab + kStages * kStep - 1) / (kStages * kStep) * kStep;

  if (args.labels.data[blockIdx.x] == kIgnoreLabel) {
    for (int c = threadIdx.x * kWidth; c < vocab; c += kStep) P::from({}).store(x + c);
    if (threadIdx.x == 0) args.losses[blockIdx.x] = 0;
    if (threadIdx.x == 0 && args.loss) args.loss[blockIdx.x] = 0;
    return;
  }

  // Copy the row, stage by stage.
#pragma unroll
  for (int s = 0; s < kStages; ++s) {
    const int end = min(vocab, (s + 1) * stage);
    for (int c = s * stage + threadIdx.x * kWidth; c < end; c += kStep) {
      cp_async_16(row + c, x + c, true);
    }
    cp_async_commit();
  }

  // Maximum and sum, as stages arrive.
  Online online;
  const auto add_stage = [&](int s) {
    const int end = min(vocab, (s + 1) * stage);
    for (int c = s * stage + threadIdx.x * kWidth; c < end; c += kStep) {
      online.add(P::load(row + c).floats());
    }
  };
  cp_async_wait<3>();
  add_stage(0);
  cp_async_wait<2>();
  add_stage(1);
  cp_async_wait<1>();
  add_stage(2);
  cp_async_wait<0>();
  add_stage(3);
  const Online all{block_reduce(online.max, maxima, -INFINITY, Max{}), 0};
  const double scaled = online.max == -INFINITY
                            ? 0.0
                            : static_cast<double>(online.sum) * expf(online.max - all.shift());
  const double log_sum = log(block_reduce(scaled, sums));

  // Loss and gradient. The large parts cancel first, as in CrossEntropyLoss.
  const auto column = static_cast<int>(args.labels.column(blockIdx.x));
  if (threadIdx.x == 0) {
    const double loss =
        (static_cast<double>(all.max) - (column < 0 ? 0.0f : to_float(row[column]))) + log_sum;
    args.losses[blockIdx.x] = loss;
    if (args.loss) args.loss[blockIdx.x] = static_cast<float>(loss);
  }
  const auto lse = static_cast<float>(all.max + log_sum);
  const float scale = args.scale ? static_cast<float>(*args.scale) : 1.0f;
  for (int c = threadIdx.x * kWidth; c < vocab; c += kStep) {
    Floats<kWidth> dx = P::load(row + c).floats();
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dx[j] = scale * exp_for<T>(dx[j] - lse);
      if (column == c + j) dx[j] -= scale;
    }
    P::from(dx).store(x + c);
  }
}

/// One block; in thread, then tree order.
__global__ __launch_bounds__(kSumThreads) void sum_losses(const double* losses, std::int64_t rows,
                                                          double* loss_sum) {
  __shared__ double partials[kWarp];
  double total = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += kSumThreads) total += losses[row];
  total = block_reduce(total, partials);
  if (threadIdx.x == 0) *loss_sum += total;
}

/// Shared memory that one block may have.
std::int64_t shared_limit() {
  int device = 0, bytes = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "cudaDeviceGetAttribute");
  return bytes;
}

/// Whether rows are whole packets that fit a block's shared memory beside what the sums need.
bool fits(const Tensor& logits) {
  constexpr std::int64_t kSums = 1024;
  const std::int64_t bytes = logits.shape[1] * static_cast<std::int64_t>(size_of(logits.dtype));
  return aligned_rows(logits) && bytes % 16 == 0 && bytes + kSums <= shared_limit();
}

/// Rows of any length: one op after the other.
void run_apart(const CrossEntropyRows& op, const Stream& stream) {
  const std::int64_t rows = op.logits.shape[0];
  Layout layout;
  const std::size_t stats_at = layout.take(static_cast<std::size_t>(rows) * 3 * sizeof(float));
  const std::size_t lse_at = layout.take(static_cast<std::size_t>(rows) * sizeof(float));
  void* base = Context::current().workspace(stream, layout.bytes());
  const Tensor stats(at<float>(base, stats_at), DType::f32, {rows, 3});
  const Tensor lse(at<float>(base, lse_at), DType::f32, {rows});
  run(Fill{.x = stats, .value = 0}, stream);
  run(Fill{.x = stats.slice(1, 0, 1), .value = -std::numeric_limits<double>::infinity()}, stream);
  run(CrossEntropyStats{.logits = op.logits, .labels = op.labels, .stats = stats}, stream);
  run(CrossEntropyLoss{.stats = stats,
                       .labels = op.labels,
                       .lse = lse,
                       .loss = op.loss,
                       .loss_sum = op.loss_sum},
      stream);
  run(CrossEntropyBwd{.logits = op.logits,
                      .labels = op.labels,
                      .lse = lse,
                      .dlogits = op.logits,
                      .scale = op.scale},
      stream);
}

}  // namespace

std::string unsupported(const CrossEntropyRows& op) {
  return unsupported_compute("logits", op.logits);
}

void run(const CrossEntropyRows& op, const Stream& stream) {
  const std::int64_t rows = op.logits.shape[0];
  if (rows == 0) return;
  if (!fits(op.logits)) return run_apart(op, stream);
  auto* losses = static_cast<double*>(
      Context::current().workspace(stream, static_cast<std::size_t>(rows) * sizeof(double)));
  const Call call{CrossEntropyRows::kName, stream, {op.logits}};
  with_real(op.logits.dtype, CrossEntropyRows::kName, [&](auto real) {
    using T = decltype(real);
    const Args<T> args{.logits = op.logits.as<T>(),
                       .stride = op.logits.stride[0],
                       .labels = {op.labels.as<std::int32_t>(), 0, op.logits.shape[1]},
                       .loss = op.loss.as<float>(),
                       .losses = losses,
                       .scale = op.scale.as<double>()};
    launch_kernel(call,
                  {static_cast<unsigned>(rows), kRowThreads,
                   static_cast<std::size_t>(op.logits.shape[1]) * sizeof(T)},
                  cross_entropy_rows<T>, args);
  });
  launch_kernel(call, {1, kSumThreads}, sum_losses, losses, rows, op.loss_sum.as<double>());
}

}  // namespace strait::kernels::cuda
