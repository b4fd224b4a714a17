#include "kernels/muon.h"

#include <algorithm>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/square_sum.cuh"
#include "kernels/cuda/support.h"
#include "kernels/cuda/symmetric.cuh"
#include "kernels/stochastic.h"

namespace strait::kernels::cuda {
namespace {

/// Where the rows of [N, R, C] start.
struct RowStarts {
  std::int64_t rows, matrix_stride, row_stride;

  explicit RowStarts(const ConstTensor& t)
      : rows(t.shape[1]), matrix_stride(t.stride[0]), row_stride(t.stride[1]) {}
  __device__ std::int64_t operator()(std::int64_t row) const {
    const std::int64_t matrix = row / rows;
    return matrix * matrix_stride + (row - matrix * rows) * row_stride;
  }
};

MatrixCut cut_of(const ConstTensor& t, int packet) {
  return make_cut(t.shape[0] * t.shape[1], t.shape[2], packet);
}

struct MomentumTensors {
  const void* g;
  void* m;
  void* u;
  bool g_bf16, u_bf16;
  const double* grad_scale;
  const double* rates;
  RowStarts of_state;  // of g and m
  RowStarts of_u;
};

struct MomentumConstants {
  float mu;
  bool nesterov;
  std::uint64_t seed;
  std::int64_t first_index;
};

template <class S, int kWidth>
__global__ __launch_bounds__(kCutThreads) void momentum(MatrixCut cut, MomentumTensors t,
                                                        MomentumConstants k) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet) || t.rates[3] == 0) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c, at = t.of_state(row) + c;
  S* state = static_cast<S*>(t.m) + at;
  const float scale = static_cast<float>(*t.grad_scale);
  const Floats<kWidth> g = load_wide<kWidth>(t.g, t.g_bf16, at, left);
  Floats<kWidth> m = Packet<S, kWidth>::load(state, left).floats(), u;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float gradient = g[j] * scale;
    m[j] = k.mu * m[j] + gradient;
    u[j] = k.nesterov ? gradient + k.mu * m[j] : m[j];
  }
  if constexpr (sizeof(S) == 2) {
    const std::uint64_t key = rounding_key(k.seed, static_cast<std::uint64_t>(t.rates[3]));
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const std::uint64_t bits =
          rounding_bits(key, static_cast<std::uint64_t>(k.first_index + at + j));
      const std::uint32_t rounded = round_stochastic(m[j], static_cast<std::uint16_t>(bits));
      m[j] = __uint_as_float(rounded << 16);
    }
  }
  Packet<S, kWidth>::from(m).store(state, left);
  store_wide<kWidth>(t.u, t.u_bf16, t.of_u(row) + c, u, left);
}

/// Matrices of a batch as flat runs of `size` elements, `blocks` blocks each.
struct FlatMatrices {
  std::int64_t size;
  std::int64_t blocks;
  std::int64_t sums;  // of a matrix
};

/// Packets a thread adds up, and the most sums of one matrix: fixed by its size alone.
constexpr std::int64_t kNormPackets = 8;
constexpr std::int64_t kMaxSums = 64;

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void matrix_squares(FlatMatrices cut, const T* x,
                                                              double* sums) {
  const std::int64_t matrix = blockIdx.x / cut.sums, piece = blockIdx.x - matrix * cut.sums;
  const double sum =
      square_sum<T, kWidth, kCutThreads>(x + matrix * cut.size, cut.size, piece, cut.sums);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void divide_by_norm(FlatMatrices cut, T* x,
                                                              const double* sums, double eps) {
  __shared__ float factor;
  const std::int64_t matrix = blockIdx.x / cut.blocks, block = blockIdx.x - matrix * cut.blocks;
  if (threadIdx.x == 0) {
    double sum = 0;
    for (std::int64_t i = 0; i < cut.sums; ++i) sum += sums[matrix * cut.sums + i];
    factor = static_cast<float>(1 / (sqrt(sum) + eps));
  }
  __syncthreads();
  const std::int64_t i = (block * kCutThreads + threadIdx.x) * kWidth;
  if (i >= cut.size) return;
  T* values = x + matrix * cut.size + i;
  Floats<kWidth> y = Packet<T, kWidth>::load(values, cut.size - i).floats();
#pragma unroll
  for (int j = 0; j < kWidth; ++j) y[j] *= factor;
  Packet<T, kWidth>::from(y).store(values, cut.size - i);
}

/// a I + b gram + c square.
template <class T, int kWidth>
struct Factor {
  static constexpr bool kReplaces = true;
  const T* gram;
  const T* square;
  float a, b, c;

  __device__ Floats<kWidth> operator()(std::int64_t at, int diagonal, int left) const {
    const auto first = Packet<T, kWidth>::load(gram + at, left);
    const auto second = Packet<T, kWidth>::load(square + at, left);
    Floats<kWidth> y;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      y[j] = (j == diagonal ? a : 0.0f) + b * first.get(j) + c * second.get(j);
    }
    return y;
  }
};

struct UpdateTensors {
  const void* o;
  void* w_compute;  // or null
  bool o_bf16, w_compute_bf16;
  const double* rates;
  RowStarts of_w, of_o, of_w_compute;
};

template <class W, int kWidth>
__global__ __launch_bounds__(kCutThreads) void muon_update(MatrixCut cut, W* weights,
                                                           UpdateTensors t, double scale,
                                                           double decay) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet) || t.rates[3] == 0) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const float step = static_cast<float>(t.rates[0] * scale),
              shrink = static_cast<float>(t.rates[0] * decay);
  W* values = weights + t.of_w(row) + c;
  Floats<kWidth> w = Packet<W, kWidth>::load(values, left).floats();
  const Floats<kWidth> o = load_wide<kWidth>(t.o, t.o_bf16, t.of_o(row) + c, left);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) w[j] -= step * o[j] + shrink * w[j];
  Packet<W, kWidth>::from(w).store(values, left);
  if (t.w_compute) {
    store_wide<kWidth>(t.w_compute, t.w_compute_bf16, t.of_w_compute(row) + c, w, left);
  }
}

__global__ void even_offsets(std::int32_t* offsets, std::int64_t count, std::int64_t rows) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kCutThreads) + threadIdx.x;
  if (i < count) offsets[i] = static_cast<std::int32_t>(i * rows);
}

}  // namespace

std::string unsupported(const MuonMomentum& op) {
  return unsupported_compute("g", op.g);
}

std::string unsupported(const FrobeniusScale& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const NewtonSchulzFactor& op) {
  return unsupported_compute("gram", op.gram);
}

std::string unsupported(const MuonUpdate& op) {
  const std::string why = unsupported_compute("w", op.w);
  return why.empty() ? unsupported_compute("w_compute", op.w_compute) : why;
}

std::string unsupported(const EvenOffsets&) {
  return {};
}

void run(const MuonMomentum& op, const Stream& stream) {
  const MomentumTensors tensors{.g = op.g.data,
                                .m = op.m.data,
                                .u = op.u.data,
                                .g_bf16 = op.g.dtype == DType::bf16,
                                .u_bf16 = op.u.dtype == DType::bf16,
                                .grad_scale = op.grad_scale.as<double>(),
                                .rates = op.rates.as<double>(),
                                .of_state = RowStarts(op.g),
                                .of_u = RowStarts(op.u)};
  const MomentumConstants constants{static_cast<float>(op.mu), op.nesterov, op.seed,
                                    op.first_index};
  with_real(op.m.dtype, MuonMomentum::kName, [&](auto state) {
    using S = decltype(state);
    with_packets<float>(all_aligned(op.g, op.m, op.u), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = cut_of(op.g, kWidth);
      launch_kernel({MuonMomentum::kName, stream, {op.g, op.m, op.u}}, grid_of(cut),
                    momentum<S, kWidth>, cut, tensors, constants);
    });
  });
}

void run(const FrobeniusScale& op, const Stream& stream) {
  if (op.x.numel() == 0) return;
  const std::int64_t matrices = op.x.shape[0], size = op.x.shape[1] * op.x.shape[2];
  with_real(op.x.dtype, FrobeniusScale::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(aligned_rows(op.x.view({matrices, size})), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      constexpr std::int64_t kPerBlock = kCutThreads * kWidth;
      const FlatMatrices cut{size, ceil_div(size, kPerBlock),
                             std::min(ceil_div(size, kPerBlock * kNormPackets), kMaxSums)};
      auto* sums = static_cast<double*>(Context::current().workspace(
          stream, static_cast<std::size_t>(matrices * cut.sums) * sizeof(double)));
      launch_kernel({FrobeniusScale::kName, stream, {op.x}},
                    {static_cast<unsigned>(matrices * cut.sums), kCutThreads},
                    matrix_squares<T, kWidth>, cut, op.x.as<T>(), sums);
      launch_kernel({FrobeniusScale::kName, stream, {op.x}},
                    {static_cast<unsigned>(matrices * cut.blocks), kCutThreads},
                    divide_by_norm<T, kWidth>, cut, op.x.as<T>(), sums, op.eps);
    });
  });
}

void run(const NewtonSchulzFactor& op, const Stream& stream) {
  if (op.gram.numel() == 0) return;
  with_real(op.gram.dtype, NewtonSchulzFactor::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.gram, op.square), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const Factor<T, kWidth> factor{op.gram.as<T>(), op.square.as<T>(), static_cast<float>(op.a),
                                     static_cast<float>(op.b), static_cast<float>(op.c)};
      launch_kernel({NewtonSchulzFactor::kName, stream, {op.gram}}, symmetric_grid<T>(op.gram),
                    fill_symmetric<T, kWidth, Factor<T, kWidth>>, factor, op.square.as<T>(),
                    static_cast<int>(op.gram.shape[1]));
    });
  });
}

void run(const MuonUpdate& op, const Stream& stream) {
  const ConstTensor along = op.w_compute.defined() ? op.w_compute : op.w;
  const UpdateTensors tensors{.o = op.o.data,
                              .w_compute = op.w_compute.data,
                              .o_bf16 = op.o.dtype == DType::bf16,
                              .w_compute_bf16 = op.w_compute.dtype == DType::bf16,
                              .rates = op.rates.as<double>(),
                              .of_w = RowStarts(op.w),
                              .of_o = RowStarts(op.o),
                              .of_w_compute = RowStarts(along)};
  with_real(op.w.dtype, MuonUpdate::kName, [&](auto real) {
    using W = decltype(real);
    with_packets<float>(all_aligned(op.w, op.o, op.w_compute), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = cut_of(op.w, kWidth);
      launch_kernel({MuonUpdate::kName, stream, {op.w, op.o}}, grid_of(cut), muon_update<W, kWidth>,
                    cut, op.w.as<W>(), tensors, op.scale, op.decay);
    });
  });
}

void run(const EvenOffsets& op, const Stream& stream) {
  const std::int64_t count = op.offsets.shape[0];
  launch_kernel({EvenOffsets::kName, stream, {op.offsets}},
                {blocks_for(count, kCutThreads), kCutThreads}, even_offsets,
                op.offsets.as<std::int32_t>(), count, op.rows);
}

}  // namespace strait::kernels::cuda
