#include "kernels/depth_average.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/column_walk.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

template <class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void depth_average_fwd(
    WalkRows<const T> x, ColumnVector bias, WalkRows<const T> previous, ColumnVector gamma,
    WalkRows<T> y, std::int64_t rows, std::int64_t width) {
  using P = Packet<T, kWidth>;
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Floats<kWidth> b = bias.load<kWidth>(column, left);
  Floats<kWidth> g = {};
  if (previous.data) g = gamma.load<kWidth>(column, left);
  walk_rows(rows, [&](std::int64_t row) {
    const P own = P::load(x.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) out[j] = own.get(j) + b[j];
    if (previous.data) {
      const P before = P::load(previous.at(row, column), left);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) out[j] = fmaf(g[j], before.get(j), out[j]);
    }
    P::from(out).store(y.at(row, column), left);
  });
}

/// partials: [gridDim.y, width] of dbias, behind them those of dgamma.
template <class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void depth_average_bwd(
    WalkRows<const T> dy, WalkRows<const T> previous, ColumnVector gamma, WalkRows<T> dprevious,
    float* partials, std::int64_t rows, std::int64_t width) {
  using P = Packet<T, kWidth>;
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  Floats<kWidth> g = {}, dbias = {}, dgamma = {};
  if (previous.data) g = gamma.load<kWidth>(column, left);
  walk_rows(rows, [&](std::int64_t row) {
    const P d = P::load(dy.at(row, column), left);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) dbias[j] += d.get(j);
    if (!previous.data) return;
    const P before = P::load(previous.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dgamma[j] = fmaf(d.get(j), before.get(j), dgamma[j]);
      out[j] = g[j] * d.get(j);
    }
    P::from(out).store(dprevious.at(row, column), left);
  });
  leave_sums(partials, width, column, dbias);
  if (previous.data) leave_sums(partials + gridDim.y * width, width, column, dgamma);
}

}  // namespace

std::string unsupported(const DepthAverageFwd& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const DepthAverageBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const DepthAverageFwd& op, const Stream& stream) {
  const std::int64_t rows = op.x.shape[0], width = op.x.shape[1];
  with_real(op.x.dtype, DepthAverageFwd::kName, [&](auto real) {
    using T = decltype(real);
    const bool aligned = all_aligned(op.x, op.bias, op.previous, op.gamma, op.y);
    with_packets<T>(aligned, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      launch_kernel({DepthAverageFwd::kName, stream, {op.x}}, walk_grid(rows, width, kWidth),
                    depth_average_fwd<T, kWidth>, rows_of<T>(op.x), ColumnVector(op.bias),
                    rows_of<T>(op.previous), ColumnVector(op.gamma), rows_of<T>(op.y), rows, width);
    });
  });
}

void run(const DepthAverageBwd& op, const Stream& stream) {
  const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
  if (rows == 0 || width == 0) return;
  with_real(op.dy.dtype, DepthAverageBwd::kName, [&](auto real) {
    using T = decltype(real);
    const bool aligned = all_aligned(op.dy, op.previous, op.gamma, op.dprevious);
    with_packets<T>(aligned, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const Grid grid = walk_grid(rows, width, kWidth);
      const std::int64_t sums = grid.blocks.y * width;
      auto* partials = static_cast<float*>(
          Context::current().workspace(stream, static_cast<std::size_t>(2 * sums) * sizeof(float)));
      launch_kernel({DepthAverageBwd::kName, stream, {op.dy}}, grid, depth_average_bwd<T, kWidth>,
                    rows_of<T>(op.dy), rows_of<T>(op.previous), ColumnVector(op.gamma),
                    rows_of<T>(op.dprevious), partials, rows, width);
      const char* name = DepthAverageBwd::kName;
      add_column_sums(name, partials, grid.blocks.y, op.dbias, stream);
      if (!op.previous.defined()) return;
      add_column_sums(name, partials + sums, grid.blocks.y, op.dgamma, stream);
    });
  });
}

}  // namespace strait::kernels::cuda
