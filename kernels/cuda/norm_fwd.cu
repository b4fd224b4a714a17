#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

template <class T>
struct Args {
  const T* x;
  const T* delta;  // or null
  T* sum;
  T* y;
  const void* w;
  float* rstd;
  std::int64_t x_stride, delta_stride, sum_stride, y_stride;
  int width;
  bool w_bf16;
  float eps;
};

/// One block per row, the row in registers.
template <class T, int kWidth, int kKeep>
__global__ __launch_bounds__(kMaxRowThreads) void rms_norm_fwd(Args<T> args) {
  using P = Packet<T, kWidth>;
  __shared__ float partials[kWarp];
  const std::int64_t row = blockIdx.x;
  const T* x = args.x + row * args.x_stride;
  const int step = blockDim.x * kWidth, first = threadIdx.x * kWidth;

  // Load, add the residual branch; what is normalised is what is stored.
  P kept[kKeep];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
    if (c >= args.width) break;
    kept[i] = P::load(x + c);
    if (args.delta) {
      const P delta = P::load(args.delta + row * args.delta_stride + c);
      Floats<kWidth> s = kept[i].floats();
#pragma unroll
      for (int j = 0; j < kWidth; ++j) s[j] += delta.get(j);
      kept[i] = P::from(s);
      kept[i].store(args.sum + row * args.sum_stride + c);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) squares = fmaf(kept[i].get(j), kept[i].get(j), squares);
  }

  squares = block_reduce(squares, partials);
  const float rstd = __frsqrt_rn(__fdiv_rn(squares, static_cast<float>(args.width)) + args.eps);
  if (threadIdx.x == 0) args.rstd[row] = rstd;

    // Scale.
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
    if (c >= args.width) break;
    Floats<kWidth> y = load_wide<kWidth>(args.w, args.w_bf16, c);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) y[j] *= kept[i].get(j) * rstd;
    P::from(y).store(args.y + row * args.y_stride + c);
  }
}

bool in_packets(const RmsNormFwd& op) {
  return whole_packets(op.x, all_aligned(op.x, op.delta, op.sum, op.y, op.w));
}

}  // namespace

std::string unsupported(const RmsNormFwd& op) {
  if (std::string why = unsupported_compute("x", op.x); !why.empty()) return why;
  return unsupported_width("x", op.x, in_packets(op));
}

void run(const RmsNormFwd& op, const Stream& stream) {
  with_real(op.x.dtype, RmsNormFwd::kName, [&](auto real) {
    using T = decltype(real);
    const Args<T> args{.x = op.x.as<T>(),
                       .delta = op.delta.as<T>(),
                       .sum = op.sum.as<T>(),
                       .y = op.y.as<T>(),
                       .w = op.w.data,
                       .rstd = op.rstd.as<float>(),
                       .x_stride = op.x.stride[0],
                       .delta_stride = op.delta.stride[0],
                       .sum_stride = op.sum.stride[0],
                       .y_stride = op.y.stride[0],
                       .width = static_cast<int>(op.x.shape[1]),
                       .w_bf16 = op.w.dtype == DType::bf16,
                       .eps = static_cast<float>(op.eps)};
    with_row_shape<T>(op.x.shape[1], in_packets(op), [&](auto shape) {
      using Shape = decltype(shape);
      launch_kernel(
          {RmsNormFwd::kName, stream, {op.x, op.w}},
          {static_cast<unsigned>(op.x.shape[0]), row_threads(op.x.shape[1], Shape::kWidth)},
          rms_norm_fwd<T, Shape::kWidth, Shape::kKeep>, args);
    });
  });
}

}  // namespace strait::kernels::cuda
