#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// Blocks that share the rows: four for each multiprocessor of an H100, and as many partial sums of
/// dw, few enough that they stay in L2.
constexpr std::int64_t kBlocks = 528;

/// S is the dtype of the residual stream, T that of all else.
template <class S, class T>
struct Args {
  const T* dy;
  const S* s;
  const T* dresidual;  // or null
  T* dx;
  const void* w;
  const float* rstd;
  float* partials;  // [gridDim.x, width] of dw
  std::int64_t dy_stride, s_stride, dresidual_stride, dx_stride, rows;
  int width;
  bool w_bf16;
};

/// What a thread reads of one row.
template <class S, class T, int kWidth, int kKeep>
struct RowInputs {
  using P = Packet<T, kWidth>;
  P dy[kKeep], residual[kKeep];
  Packet<S, kWidth> s[kKeep];
  float rstd;

  __device__ void load(const Args<S, T>& args, std::int64_t row) {
    rstd = args.rstd[row];
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = (threadIdx.x + i * blockDim.x) * kWidth;
      if (c >= args.width) break;
      dy[i] = P::load(args.dy + row * args.dy_stride + c);
      s[i] = Packet<S, kWidth>::load(args.s + row * args.s_stride + c);
      if (args.dresidual) {
        residual[i] = P::load(args.dresidual + row * args.dresidual_stride + c);
      }
    }
  }
};

/// Writes dx of one row and adds the row's share to dw.
template <class S, class T, int kWidth, int kKeep>
__device__ void row_gradient(const Args<S, T>& args, std::int64_t row,
                             const RowInputs<S, T, kWidth, kKeep>& in, float* partials,
                             Floats<kWidth> (&dw)[kKeep]) {
  const int step = blockDim.x * kWidth, first = threadIdx.x * kWidth;
  const float rstd = in.rstd;
  float product = 0;
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
    if (c >= args.width) break;
    const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      product = fmaf(in.dy[i].get(j) * w[j], in.s[i].get(j), product);
    }
  }
  product = block_reduce(product, partials);
  const float shrink = product * rstd * rstd / static_cast<float>(args.width);
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
    if (c >= args.width) break;
    const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c);
    Floats<kWidth> dx = {};
    if (args.dresidual) dx = in.residual[i].floats();
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float d = in.dy[i].get(j), x = in.s[i].get(j);
      dw[i][j] = fmaf(d, x * rstd, dw[i][j]);
      dx[j] = fmaf(rstd, fmaf(d, w[j], -x * shrink), dx[j]);
    }
    Packet<T, kWidth>::from(dx).store(args.dx + row * args.dx_stride + c);
  }
}

/// A block walks rows blockIdx.x, + gridDim.x, ... and keeps its columns' sums for dw. The next row
/// is read before this one is reduced, where registers allow; the two take turns in two sets of
/// registers, since a copy would wait for the read.
template <class S, class T, int kWidth, int kKeep>
__global__ __launch_bounds__(kMaxRowThreads) void rms_norm_bwd(
    const __grid_constant__ Args<S, T> args) {
  using Inputs = RowInputs<S, T, kWidth, kKeep>;
  constexpr bool kAhead = kWidth * sizeof(S) * kKeep <= 32;
  __shared__ float partials[2][kWarp];
  Floats<kWidth> dw[kKeep] = {};
  const auto step = [&](std::int64_t row, const Inputs& now, Inputs& then, float* shared) {
    const std::int64_t next = row + gridDim.x;
    if (kAhead && next < args.rows) then.load(args, next);
    row_gradient(args, row, now, shared, dw);
    if (!kAhead && next < args.rows) then.load(args, next);
    return next;
  };
  Inputs even, odd;
  even.load(args, blockIdx.x);
  for (std::int64_t row = blockIdx.x; row < args.rows;) {
    row = step(row, even, kAhead ? odd : even, partials[0]);
    if (row < args.rows) row = step(row, kAhead ? odd : even, even, partials[1]);
  }

  float* sums = args.partials + blockIdx.x * static_cast<std::int64_t>(args.width);
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = (threadIdx.x + i * blockDim.x) * kWidth;
    if (c < args.width) Packet<float, kWidth>::from(dw[i]).store(sums + c);
  }
}

bool in_packets(const RmsNormBwd& op) {
  return whole_packets(op.dy, all_aligned(op.dy, op.s, op.dresidual, op.dx, op.w));
}

}  // namespace

std::string unsupported(const RmsNormBwd& op) {
  if (std::string why = unsupported_compute("dy", op.dy); !why.empty()) return why;
  return unsupported_width("dy", op.dy, in_packets(op));
}

void run(const RmsNormBwd& op, const Stream& stream) {
  const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
  const std::int64_t blocks = std::min(rows, kBlocks);
  if (rows == 0) return;
  auto* partials = static_cast<float*>(Context::current().workspace(
      stream, static_cast<std::size_t>(blocks * width) * sizeof(float)));
  with_residual_and_real(op.s.dtype, op.dy.dtype, RmsNormBwd::kName, [&](auto residual, auto real) {
    using S = decltype(residual);
    using T = decltype(real);
    const Args<S, T> args{.dy = op.dy.as<T>(),
                          .s = op.s.as<S>(),
                          .dresidual = op.dresidual.as<T>(),
                          .dx = op.dx.as<T>(),
                          .w = op.w.data,
                          .rstd = op.rstd.as<float>(),
                          .partials = partials,
                          .dy_stride = op.dy.stride[0],
                          .s_stride = op.s.stride[0],
                          .dresidual_stride = op.dresidual.stride[0],
                          .dx_stride = op.dx.stride[0],
                          .rows = rows,
                          .width = static_cast<int>(width),
                          .w_bf16 = op.w.dtype == DType::bf16};
    with_row_shape<T>(width, in_packets(op), [&](auto shape) {
      using Shape = decltype(shape);
      launch_kernel({RmsNormBwd::kName, stream, {op.dy, op.w, op.dw}},
                    {static_cast<unsigned>(blocks), row_threads(width, Shape::kWidth)},
                    rms_norm_bwd<S, T, Shape::kWidth, Shape::kKeep>, args);
    });
  });
  add_column_sums(RmsNormBwd::kName, partials, blocks, op.dw, stream);
}

}  // namespace strait::kernels::cuda
