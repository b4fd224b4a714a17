#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// Blocks that share the rows: four for each multiprocessor of an H100, and as many partial sums of
/// dw, few enough that they stay in L2.
constexpr std::int64_t kBlocks = 528;

template <class T>
struct Args {
  const T* dy;
  const T* s;
  const T* dresidual;  // or null
  T* dx;
  const void* w;
  const float* rstd;
  float* partials;  // [gridDim.x, width] of dw
  std::int64_t dy_stride, s_stride, dresidual_stride, dx_stride, rows;
  int width;
  bool w_bf16;
};

/// A block walks rows blockIdx.x, + gridDim.x, ... and keeps its columns' sums for dw.
template <class T, int kWidth, int kKeep>
__global__ __launch_bounds__(kMaxRowThreads) void rms_norm_bwd(Args<T> args) {
  using P = Packet<T, kWidth>;
  __shared__ float partials[2][kWarp];
  const int step = blockDim.x * kWidth, first = threadIdx.x * kWidth;
  Floats<kWidth> dw[kKeep] = {};
  int parity = 0;

  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x, parity ^= 1) {
    // Load; the product of the row with its upstream gradient.
    P dy[kKeep], s[kKeep];
    float product = 0;
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = first + i * step, left = args.width - c;
      if (left <= 0) break;
      dy[i] = P::load(args.dy + row * args.dy_stride + c, left);
      s[i] = P::load(args.s + row * args.s_stride + c, left);
    }
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = first + i * step, left = args.width - c;
      if (left <= 0) break;
      const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c, left);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) product = fmaf(dy[i].get(j) * w[j], s[i].get(j), product);
    }
    product = block_reduce(product, partials[parity]);
    const float rstd = args.rstd[row];
    const float shrink = product * rstd * rstd / static_cast<float>(args.width);

    // Gradient of the row, and its share of dw.
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = first + i * step, left = args.width - c;
      if (left <= 0) break;
      const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c, left);
      Floats<kWidth> dx = {};
      if (args.dresidual) {
        dx = P::load(args.dresidual + row * args.dresidual_stride + c, left).floats();
      }
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        const float d = dy[i].get(j), x = s[i].get(j);
        dw[i][j] = fmaf(d, x * rstd, dw[i][j]);
        dx[j] = fmaf(rstd, fmaf(d, w[j], -x * shrink), dx[j]);
      }
      P::from(dx).store(args.dx + row * args.dx_stride + c, left);
    }
  }

  float* sums = args.partials + blockIdx.x * static_cast<std::int64_t>(args.width);
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      if (c + j < args.width) sums[c + j] = dw[i][j];
    }
  }
}

bool aligned(const RmsNormBwd& op) {
  return all_aligned(op.dy, op.s, op.dresidual, op.dx, op.w);
}

}  // namespace

std::string unsupported(const RmsNormBwd& op) {
  if (std::string why = unsupported_compute("dy", op.dy); !why.empty()) return why;
  return unsupported_width("dy", op.dy, aligned(op));
}

void run(const RmsNormBwd& op, const Stream& stream) {
  const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
  const std::int64_t blocks = std::min(rows, kBlocks);
  if (rows == 0) return;
  auto* partials = static_cast<float*>(Context::current().workspace(
      stream, static_cast<std::size_t>(blocks * width) * sizeof(float)));
  with_real(op.dy.dtype, RmsNormBwd::kName, [&](auto real) {
    using T = decltype(real);
    const Args<T> args{.dy = op.dy.as<T>(),
                       .s = op.s.as<T>(),
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
    with_row_shape<T>(width, aligned(op), [&](auto shape) {
      using Shape = decltype(shape);
      launch_kernel({RmsNormBwd::kName, stream, {op.dy, op.w, op.dw}},
                    {static_cast<unsigned>(blocks), row_threads(width, Shape::kWidth)},
                    rms_norm_bwd<T, Shape::kWidth, Shape::kKeep>, args);
    });
  });
  add_column_sums(RmsNormBwd::kName, partials, blocks, op.dw, stream);
}

}  // namespace strait::kernels::cuda
