#include "kernels/permute.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;  // independent packets per thread

/// Calls body(packet index, row, column packet) for a thread's kUnroll packets of rows * width.
template <class Body>
__device__ __forceinline__ void for_each_packet(std::int64_t total, int per_row, Body&& body) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads * kUnroll;
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t index = first + u * kThreads + threadIdx.x;
    if (index < total) {
      const std::int64_t row = index / per_row;
      body(u, row, static_cast<int>(index - row * per_row));
    }
  }
}

dim3 packet_blocks(std::int64_t packets) {
  return dim3(blocks_for(packets, kThreads * kUnroll));
}

/// Rows in units of one memory access.
template <class Unit>
struct PermuteArgs {
  const Unit* x;
  Unit* y;
  const int* choice_of;
  std::int64_t x_stride, y_stride;  // in units
  std::int64_t total;
  int per_row, chosen;
};

template <class Unit>
__global__ void __launch_bounds__(kThreads) permute_rows(const PermuteArgs<Unit> args) {
  Unit units[kUnroll];
  for_each_packet(args.total, args.per_row, [&](int u, std::int64_t row, int column) {
    const std::int64_t token = args.choice_of[row] / args.chosen;
    units[u] = args.x[token * args.x_stride + column];
  });
  for_each_packet(args.total, args.per_row, [&](int u, std::int64_t row, int column) {
    args.y[row * args.y_stride + column] = units[u];
  });
}

template <class Unit>
void permute(const MoePermute& op, const Stream& stream) {
  const auto element = static_cast<std::int64_t>(size_of(op.x.dtype));
  const auto unit = static_cast<std::int64_t>(sizeof(Unit));
  const std::int64_t rows = op.choice_of.shape[0], per_row = op.x.shape[1] * element / unit;
  const PermuteArgs<Unit> args{.x = op.x.as<Unit>(),
                               .y = op.y.as<Unit>(),
                               .choice_of = op.choice_of.as<std::int32_t>(),
                               .x_stride = op.x.stride[0] * element / unit,
                               .y_stride = op.y.stride[0] * element / unit,
                               .total = rows * per_row,
                               .per_row = static_cast<int>(per_row),
                               .chosen = static_cast<int>(rows / op.x.shape[0])};
  launch_kernel({op.kName, stream, {op.x, op.y}}, {packet_blocks(args.total), kThreads},
                permute_rows<Unit>, args);
}

/// Whether rows of both tensors are whole units of `bytes`.
bool divides(std::int64_t bytes, const ConstTensor& x) {
  const auto element = static_cast<std::int64_t>(size_of(x.dtype));
  return reinterpret_cast<std::uintptr_t>(x.data) % bytes == 0 &&
         x.shape[1] * element % bytes == 0 &&
         (x.shape[0] <= 1 || x.stride[0] * element % bytes == 0);
}

template <class T>
struct CombineArgs {
  const T* x;
  const T* base;  // or null; may be y
  T* y;
  const int* row_of;
  const float* weight;  // or null
  std::int64_t x_stride, base_stride, y_stride;
  std::int64_t total;
  int per_row, chosen;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) combine_rows(const CombineArgs<T> args) {
  using P = Packet<T, kWidth>;
  for_each_packet(args.total, args.per_row, [&](int, std::int64_t token, int packet) {
    const std::int64_t column = static_cast<std::int64_t>(packet) * kWidth;
    Floats<kWidth> sum = {};
    if (args.base) sum = P::load(args.base + token * args.base_stride + column).floats();
#pragma unroll 4
    for (int k = 0; k < args.chosen; ++k) {
      const std::int64_t choice = token * args.chosen + k;
      const float weight = args.weight ? args.weight[choice] : 1.0f;
      const P x = P::load(args.x + args.row_of[choice] * args.x_stride + column);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum[i] = fmaf(weight, x.get(i), sum[i]);
    }
    P::from(sum).store(args.y + token * args.y_stride + column);
  });
}

template <class T>
struct CombineGradArgs {
  const T* dy;
  const T* x;
  T* dx;  // may be x
  const int* choice_of;
  const float* weight;
  float* dweight;
  std::int64_t dy_stride, x_stride, dx_stride, rows;
  int width, chosen;
};

/// A warp per sorted row.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) combine_backward(const CombineGradArgs<T> args) {
  using P = Packet<T, kWidth>;
  const int lane = threadIdx.x % kWarp;
  const std::int64_t row =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (row >= args.rows) return;
  const int choice = args.choice_of[row];
  const T* dy = args.dy + choice / args.chosen * args.dy_stride;
  const T* x = args.x + row * args.x_stride;
  T* dx = args.dx + row * args.dx_stride;
  const float weight = args.weight[choice];
  float product = 0;
#pragma unroll 4
  for (int c = lane * kWidth; c < args.width; c += kWarp * kWidth) {
    const P up = P::load(dy + c), value = P::load(x + c);
    Floats<kWidth> down;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      product = fmaf(up.get(i), value.get(i), product);
      down[i] = weight * up.get(i);
    }
    P::from(down).store(dx + c);
  }
  product = warp_reduce(product);
  if (lane == 0) args.dweight[choice] = product;
}

/// Calls body(integral constant of elements per access).
template <class T, class Body>
void with_width(bool aligned, Body&& body) {
  if (aligned) return body(std::integral_constant<int, kPacket<T>>{});
  body(std::integral_constant<int, 1>{});
}

}  // namespace

std::string unsupported(const MoePermute&) {
  return {};
}

std::string unsupported(const MoeCombineFwd& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const MoeCombineBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const MoePermute& op, const Stream& stream) {
  if (op.choice_of.shape[0] == 0) return;
  if (divides(16, op.x) && divides(16, op.y)) return permute<uint4>(op, stream);
  if (divides(2, op.x) && divides(2, op.y)) return permute<std::uint16_t>(op, stream);
  permute<std::uint8_t>(op, stream);
}

void run(const MoeCombineFwd& op, const Stream& stream) {
  with_real(op.x.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const bool aligned = all_aligned(op.x, op.base, op.y) && op.x.shape[1] % kPacket<T> == 0;
    with_width<T>(aligned, [&](auto width) {
      const std::int64_t per_row = op.x.shape[1] / width(), tokens = op.row_of.shape[0];
      const CombineArgs<T> args{.x = op.x.as<T>(),
                                .base = op.base.as<T>(),
                                .y = op.y.as<T>(),
                                .row_of = op.row_of.as<std::int32_t>(),
                                .weight = op.weight.as<float>(),
                                .x_stride = op.x.stride[0],
                                .base_stride = op.base.stride[0],
                                .y_stride = op.y.stride[0],
                                .total = tokens * per_row,
                                .per_row = static_cast<int>(per_row),
                                .chosen = static_cast<int>(op.row_of.shape[1])};
      launch_kernel({op.kName, stream, {op.x, op.y}}, {packet_blocks(args.total), kThreads},
                    combine_rows<T, width()>, args);
    });
  });
}

void run(const MoeCombineBwd& op, const Stream& stream) {
  if (op.dy.shape[0] == 0) return;
  with_real(op.dy.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.x.shape[0], columns = op.dy.shape[1];
    const CombineGradArgs<T> args{.dy = op.dy.as<T>(),
                                  .x = op.x.as<T>(),
                                  .dx = op.dx.as<T>(),
                                  .choice_of = op.choice_of.as<std::int32_t>(),
                                  .weight = op.weight.as<float>(),
                                  .dweight = op.dweight.as<float>(),
                                  .dy_stride = op.dy.stride[0],
                                  .x_stride = op.x.stride[0],
                                  .dx_stride = op.dx.stride[0],
                                  .rows = rows,
                                  .width = static_cast<int>(columns),
                                  .chosen = static_cast<int>(rows / op.dy.shape[0])};
    const bool aligned = all_aligned(op.dy, op.x, op.dx) && columns % kPacket<T> == 0;
    with_width<T>(aligned, [&](auto width) {
      launch_kernel({op.kName, stream, {op.dy, op.x, op.dx}},
                    {blocks_for(rows, kThreads / kWarp), kThreads}, combine_backward<T, width()>,
                    args);
    });
  });
}

}  // namespace strait::kernels::cuda
