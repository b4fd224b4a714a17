#include "kernels/residual_scale.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/column_walk.cuh"
#include "kernels/cuda/packed_rows.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// One term of the sum: rows in T, absent when its data is null.
template <class T>
struct Term {
  WalkRows<const T> rows;
  ColumnVector scale, bias;
};

template <class T>
Term<T> term(const ConstTensor& rows, const ConstTensor& scale, const ConstTensor& bias) {
  return {rows_of<T>(rows), ColumnVector(scale), ColumnVector(bias)};
}

/// The scale and bias of a thread's columns.
template <int kWidth>
struct Factors {
  Floats<kWidth> scale, bias;

  template <class T>
  __device__ Factors(const Term<T>& term, std::int64_t column, std::int64_t left)
      : scale(term.scale.template load<kWidth>(column, left)),
        bias(term.bias.template load<kWidth>(column, left)) {}
};

template <class S, class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void scale_sum(Term<S> x, Term<T> delta, WalkRows<S> y,
                                                          std::int64_t rows, std::int64_t width) {
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Factors<kWidth> branch(delta, column, left), stream(x, column, left);
  walk_rows(rows, [&](std::int64_t row) {
    const auto d = Packet<T, kWidth>::load(delta.rows.at(row, column), left);
    const auto h = Packet<S, kWidth>::load(x.rows.at(row, column), left);
    Floats<kWidth> sum;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      sum[j] = fmaf(h.get(j) + stream.bias[j], stream.scale[j],
                    (d.get(j) + branch.bias[j]) * branch.scale[j]);
    }
    Packet<S, kWidth>::from(sum).store(y.at(row, column), left);
  });
}

template <class S, class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void scale_branch(Term<T> delta, WalkRows<S> y,
                                                             std::int64_t rows,
                                                             std::int64_t width) {
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Factors<kWidth> branch(delta, column, left);
  walk_rows(rows, [&](std::int64_t row) {
    const auto d = Packet<T, kWidth>::load(delta.rows.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) out[j] = (d.get(j) + branch.bias[j]) * branch.scale[j];
    Packet<S, kWidth>::from(out).store(y.at(row, column), left);
  });
}

/// Gradients of one term, of rows in X. partials: [gridDim.y, width] of the scale's, then of the
/// bias's. dx may be dy: a thread reads what it writes.
template <class X, class T, int kWidth>
__global__ __launch_bounds__(kWalkThreads) void scale_bwd(WalkRows<const T> dy, Term<X> x,
                                                          WalkRows<T> dx, float* partials,
                                                          std::int64_t rows, std::int64_t width) {
  const std::int64_t column = own_column<kWidth>(), left = width - column;
  if (left <= 0) return;
  const Factors<kWidth> factors(x, column, left);
  Floats<kWidth> dscale = {}, dbias = {};
  walk_rows(rows, [&](std::int64_t row) {
    const auto d = Packet<T, kWidth>::load(dy.at(row, column), left);
    const auto value = Packet<X, kWidth>::load(x.rows.at(row, column), left);
    Floats<kWidth> out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dscale[j] = fmaf(d.get(j), value.get(j) + factors.bias[j], dscale[j]);
      out[j] = d.get(j) * factors.scale[j];
      dbias[j] += out[j];
    }
    Packet<T, kWidth>::from(out).store(dx.at(row, column), left);
  });
  leave_sums(partials, width, column, dscale);
  leave_sums(partials + gridDim.y * width, width, column, dbias);
}

/// Enqueues scale_bwd and the sums of its parameters.
template <class X, class T>
void term_gradient(const ConstTensor& dy, const ConstTensor& x, const ConstTensor& scale,
                   const ConstTensor& bias, const Tensor& dx, const Tensor& dscale,
                   const Tensor& dbias, const Stream& stream) {
  const char* name = ResidualScaleBwd::kName;
  const std::int64_t rows = dy.shape[0], width = dy.shape[1];
  with_packets<T>(all_aligned(dy, x, scale, bias, dx), [&](auto packet) {
    constexpr int kWidth = decltype(packet)::value;
    const Grid grid = walk_grid(rows, width, kWidth);
    const std::int64_t sums = grid.blocks.y * width;
    auto* partials = static_cast<float*>(
        Context::current().workspace(stream, static_cast<std::size_t>(2 * sums) * sizeof(float)));
    launch_kernel({name, stream, {dy, x, dx}}, grid, scale_bwd<X, T, kWidth>, rows_of<T>(dy),
                  term<X>(x, scale, bias), rows_of<T>(dx), partials, rows, width);
    add_column_sums(name, partials, grid.blocks.y, dscale, stream);
    add_column_sums(name, partials + sums, grid.blocks.y, dbias, stream);
  });
}

}  // namespace

std::string unsupported(const ResidualScaleFwd& op) {
  return unsupported_compute("delta", op.delta);
}

std::string unsupported(const ResidualScaleBwd& op) {
  return unsupported_compute("delta", op.delta);
}

void run(const ResidualScaleFwd& op, const Stream& stream) {
  const Call call{ResidualScaleFwd::kName, stream, {op.delta, op.x, op.y}};
  const std::int64_t rows = op.delta.shape[0], width = op.delta.shape[1];
  with_residual_and_real(op.y.dtype, op.delta.dtype, call.op, [&](auto residual, auto real) {
    using S = decltype(residual);
    using T = decltype(real);
    const Term<T> delta = term<T>(op.delta, op.delta_scale, op.delta_bias);
    const bool aligned =
        all_aligned(op.x, op.x_scale, op.x_bias, op.delta, op.delta_scale, op.delta_bias, op.y);
    with_packets<T>(aligned, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const Grid grid = walk_grid(rows, width, kWidth);
      if (op.x.defined()) {
        launch_kernel(call, grid, scale_sum<S, T, kWidth>, term<S>(op.x, op.x_scale, op.x_bias),
                      delta, rows_of<S>(op.y), rows, width);
      } else {
        launch_kernel(call, grid, scale_branch<S, T, kWidth>, delta, rows_of<S>(op.y), rows, width);
      }
    });
  });
}

void run(const ResidualScaleBwd& op, const Stream& stream) {
  if (op.dy.numel() == 0) return;
  with_residual_and_real(op.x.defined() ? op.x.dtype : op.dy.dtype, op.dy.dtype,
                         ResidualScaleBwd::kName, [&](auto residual, auto real) {
                           using S = decltype(residual);
                           using T = decltype(real);
                           // The term whose gradient may take dy's place comes last.
                           term_gradient<T, T>(op.dy, op.delta, op.delta_scale, op.delta_bias,
                                               op.ddelta, op.ddelta_scale, op.ddelta_bias, stream);
                           if (!op.x.defined()) return;
                           term_gradient<S, T>(op.dy, op.x, op.x_scale, op.x_bias, op.dx,
                                               op.dx_scale, op.dx_bias, stream);
                         });
}

}  // namespace strait::kernels::cuda
