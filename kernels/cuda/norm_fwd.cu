#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// Vectors over columns that scale the terms of a sum; absent when x_scale is null.
struct Scales {
  const void *x_scale, *x_bias, *delta_scale, *delta_bias;
  bool x_bf16, delta_bf16;

  explicit Scales(const SumScales& scales)
      : x_scale(scales.x_scale.data),
        x_bias(scales.x_bias.data),
        delta_scale(scales.delta_scale.data),
        delta_bias(scales.delta_bias.data),
        x_bf16(scales.x_scale.dtype == DType::bf16),
        delta_bf16(scales.delta_scale.dtype == DType::bf16) {}

  /// x becomes the sum, as ResidualScaleFwd works it out.
  template <int kWidth>
  __device__ void add(Floats<kWidth>& x, const Floats<kWidth>& delta, int column) const {
    const auto xs = load_wide<kWidth>(x_scale, x_bf16, column);
    const auto xb = load_wide<kWidth>(x_bias, x_bf16, column);
    const auto ds = load_wide<kWidth>(delta_scale, delta_bf16, column);
    const auto db = load_wide<kWidth>(delta_bias, delta_bf16, column);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      x[j] = fmaf(x[j] + xb[j], xs[j], (delta[j] + db[j]) * ds[j]);
    }
  }
};

/// The sum that is normalised: x alone or with delta, with both scaled, or with rows of experts.
enum class Sum : std::uint8_t { plain, scaled, experts };

template <class T>
struct Rows {
  const T* rows;
  const int* row_of;
  const float* weight;
  std::int64_t stride;
  int chosen;

  explicit Rows(const ExpertRows& experts)
      : rows(experts.rows.as<T>()),
        row_of(experts.row_of.as<std::int32_t>()),
        weight(experts.weight.as<float>()),
        stride(experts.rows.stride[0]),
        chosen(static_cast<int>(experts.row_of.shape[1])) {}

  /// Adds the weighted rows of a token, as MoeCombineFwd works them out.
  template <int kWidth>
  __device__ void add(Floats<kWidth>& delta, std::int64_t token, int column) const {
#pragma unroll 4
    for (int k = 0; k < chosen; ++k) {
      const std::int64_t choice = token * chosen + k;
      const float scale = weight[choice];
      const auto row = Packet<T, kWidth>::load(rows + row_of[choice] * stride + column);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) delta[j] = fmaf(scale, row.get(j), delta[j]);
    }
  }
};

/// S is the dtype of the residual stream, T that of all else.
template <class S, class T>
struct Args {
  const S* x;
  const T* delta;  // or null
  Scales scales;
  Rows<T> experts;
  S* sum;
  T* y;
  const void* w;
  float* rstd;
  std::int64_t x_stride, delta_stride, sum_stride, y_stride;
  int width;
  bool w_bf16;
  float eps;
};

/// One block per row, the row in registers.
template <class S, class T, int kWidth, int kKeep, Sum kSum>
__global__ __launch_bounds__(kMaxRowThreads) void rms_norm_fwd(Args<S, T> args) {
  using P = Packet<S, kWidth>;
  using Q = Packet<T, kWidth>;
  __shared__ float partials[kWarp];
  const std::int64_t row = blockIdx.x;
  const S* x = args.x + row * args.x_stride;
  const int step = blockDim.x * kWidth, first = threadIdx.x * kWidth;

  // Load, add the residual branch; what is normalised is what is stored.
  P kept[kKeep];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = first + i * step;
    if (c >= args.width) break;
    kept[i] = P::load(x + c);
    if (kSum == Sum::experts || args.delta) {
      Floats<kWidth> s = kept[i].floats(), delta = {};
      if (args.delta) delta = Q::load(args.delta + row * args.delta_stride + c).floats();
      if constexpr (kSum == Sum::scaled) {
        args.scales.add(s, delta, c);
      } else {
        if constexpr (kSum == Sum::experts) {
          args.experts.add(delta, row, c);
          delta = Q::from(delta).floats();
        }
#pragma unroll
        for (int j = 0; j < kWidth; ++j) s[j] += delta[j];
      }
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
    Q::from(y).store(args.y + row * args.y_stride + c);
  }
}

template <class S, class T, class Shape>
auto kernel_of(const RmsNormFwd& op) {
  constexpr int kWidth = Shape::kWidth, kKeep = Shape::kKeep;
  if (op.scales.x_scale.defined()) return rms_norm_fwd<S, T, kWidth, kKeep, Sum::scaled>;
  if (op.experts.rows.defined()) return rms_norm_fwd<S, T, kWidth, kKeep, Sum::experts>;
  return rms_norm_fwd<S, T, kWidth, kKeep, Sum::plain>;
}

bool in_packets(const RmsNormFwd& op) {
  const SumScales& scales = op.scales;
  return whole_packets(
      op.y, all_aligned(op.x, op.delta, op.sum, op.y, op.w, op.experts.rows, scales.x_scale,
                        scales.x_bias, scales.delta_scale, scales.delta_bias));
}

}  // namespace

std::string unsupported(const RmsNormFwd& op) {
  if (std::string why = unsupported_compute("y", op.y); !why.empty()) return why;
  return unsupported_width("y", op.y, in_packets(op));
}

void run(const RmsNormFwd& op, const Stream& stream) {
  with_residual_and_real(op.x.dtype, op.y.dtype, RmsNormFwd::kName, [&](auto residual, auto real) {
    using S = decltype(residual);
    using T = decltype(real);
    const Args<S, T> args{.x = op.x.as<S>(),
                          .delta = op.delta.as<T>(),
                          .scales = Scales(op.scales),
                          .experts = Rows<T>(op.experts),
                          .sum = op.sum.as<S>(),
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
          kernel_of<S, T, Shape>(op), args);
    });
  });
}

}  // namespace strait::kernels::cuda
