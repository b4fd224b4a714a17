#include "kernels/activation.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/column_walk.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

constexpr float kSqrtHalf = 0.70710678118654752f;
constexpr float kDensityAtZero = 0.39894228040143268f;

/// Distribution function of the standard normal.
__device__ float normal_below(float z) {
  return 0.5f * erfcf(-z * kSqrtHalf);
}

template <class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void gelu_fwd(WalkRows<const T> x, ColumnVector bias,
                                                         WalkRows<T> y, std::int64_t rows,
                                                         std::int64_t width) {
  using P = Packet<T, kWidth>;
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Floats<kWidth> b = bias.load<kWidth>(column, left);
  walk_rows(rows, [&](std::int64_t row) {
    const P in = P::load(x.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float z = in.get(j) + b[j];
      out[j] = z * normal_below(z);
    }
    P::from(out).store(y.at(row, column), left);
  });
}

template <class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void gelu_bwd(WalkRows<const T> dy, WalkRows<const T> x,
                                                         ColumnVector bias, WalkRows<T> dx,
                                                         float* partials, std::int64_t rows,
                                                         std::int64_t width) {
  using P = Packet<T, kWidth>;
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Floats<kWidth> b = bias.load<kWidth>(column, left);
  Floats<kWidth> sums = {};
  walk_rows(rows, [&](std::int64_t row) {
    const P in = P::load(x.at(row, column), left), d = P::load(dy.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float z = in.get(j) + b[j];
      const float density = kDensityAtZero * expf(-0.5f * z * z);
      out[j] = d.get(j) * (normal_below(z) + z * density);
      sums[j] += out[j];
    }
    P::from(out).store(dx.at(row, column), left);
  });
  leave_sums(partials, width, column, sums);
}

}  // namespace

std::string unsupported(const GeluFwd& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const GeluBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const GeluFwd& op, const Stream& stream) {
  const std::int64_t rows = op.x.shape[0], width = op.x.shape[1];
  with_real(op.x.dtype, GeluFwd::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.x, op.bias, op.y), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      launch_kernel({GeluFwd::kName, stream, {op.x}}, walk_grid(rows, width, kWidth),
                    gelu_fwd<T, kWidth>, rows_of<T>(op.x), ColumnVector(op.bias), rows_of<T>(op.y),
                    rows, width);
    });
  });
}

void run(const GeluBwd& op, const Stream& stream) {
  const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
  if (rows == 0 || width == 0) return;
  with_real(op.dy.dtype, GeluBwd::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.dy, op.x, op.bias, op.dx), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const Grid grid = walk_grid(rows, width, kWidth);
      auto* partials = static_cast<float*>(Context::current().workspace(
          stream, static_cast<std::size_t>(grid.blocks.y * width) * sizeof(float)));
      launch_kernel({GeluBwd::kName, stream, {op.dy}}, grid, gelu_bwd<T, kWidth>, rows_of<T>(op.dy),
                    rows_of<T>(op.x), ColumnVector(op.bias), rows_of<T>(op.dx), partials, rows,
                    width);
      add_column_sums(GeluBwd::kName, partials, grid.blocks.y, op.dbias, stream);
    });
  });
}

}  // namespace strait::kernels::cuda
