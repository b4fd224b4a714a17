#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/head_rows.cuh"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace {

/// Blocks that share the tiles, and partial sums of dw: eight for each multiprocessor of an H100.
constexpr std::int64_t kBlocks = 1056;

template <class T>
struct Args {
  const T* dy;
  const T* x;  // null without norm, as w and the sums
  T* dx;
  const void* w;
  const float* rstd;
  float* partials;  // [gridDim.x, width] of dw
  const std::int32_t* positions;
  std::int64_t dy_stride, x_stride, dx_stride, dy_head, x_head, dx_head, rstd_stride;
  HeadTiles tiles;
  bool w_bf16;
};

/// Gradient through the norm of one head, given the gradient g of its output; adds to dw.
template <class T, int kWidth, int kKeep>
__device__ void norm_gradient(const Args<T>& args, const T* x, float rstd, int width, int lane,
                              Floats<kWidth> (&g)[kKeep], Floats<kWidth> (&dw)[kKeep]) {
  const int lanes = args.tiles.lanes;
  Floats<kWidth> s[kKeep];
  float product = 0;
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    const int c = (lane + i * lanes) * kWidth;
    s[i] = Packet<T, kWidth>::load(x + c, width - c).floats();
    const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c, args.tiles.width - c);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dw[i][j] = fmaf(g[i][j], s[i][j] * rstd, dw[i][j]);
      g[i][j] *= w[j];
      product = fmaf(g[i][j], s[i][j], product);
    }
  }
  product = group_reduce(product, lanes);
  const float shrink = product * rstd * rstd / static_cast<float>(args.tiles.width);
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) g[i][j] = rstd * (g[i][j] - s[i][j] * shrink);
  }
}

/// Sums dw over the groups of the block, in group order.
template <int kWidth, int kKeep>
__device__ void store_sums(const Floats<kWidth> (&dw)[kKeep], float* stage, const HeadTiles& tiles,
                           float* sums) {
  const int lane = threadIdx.x % tiles.lanes, group = threadIdx.x / tiles.lanes;
  const int pitch = spread<kWidth>(tiles.lanes * kKeep * kWidth);
  put_row<kWidth>(dw, stage + group * pitch, lane, tiles.lanes);
  __syncthreads();
  for (int c = threadIdx.x; c < tiles.width; c += kHeadThreads) {
    double sum = 0;
    for (int g = 0; g < kHeadThreads / tiles.lanes; ++g) {
      sum += stage[g * pitch + spread<kWidth>(c)];
    }
    sums[c] = static_cast<float>(sum);
  }
}

template <class T, int kWidth>
__global__ __launch_bounds__(kHeadThreads) void qk_norm_rope_bwd(
    const __grid_constant__ Args<T> args, const __grid_constant__ RopeTable table) {
  using P = Packet<T, kWidth>;
  constexpr int kKeep = kHeadPackets<kWidth>;
  __shared__ float2 angles[kAngles<kWidth>];
  __shared__ float stage[kStage<kWidth>];
  const HeadTiles& tiles = args.tiles;
  const int lane = threadIdx.x % tiles.lanes, group = threadIdx.x / tiles.lanes;
  const int groups = kHeadThreads / tiles.lanes;
  float* row = stage + group * spread<kWidth>(tiles.lanes * kKeep * kWidth);
  Floats<kWidth> dw[kKeep] = {};

  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * tiles.tile;
  for (std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * tiles.tile;
       begin < tiles.tokens; begin += step) {
    const int tokens =
        static_cast<int>(min(static_cast<std::int64_t>(tiles.tile), tiles.tokens - begin));
    __syncthreads();
    fill_angles<kWidth>(table, args.positions, begin, tokens, angles);
    __syncthreads();

    const int items = tokens * tiles.heads;
    for (int base = 0; base < items; base += groups) {
      const int item = base + group;
      const bool active = item < items;
      const int head = active ? item % tiles.heads : 0, width = active ? tiles.width : 0;
      const int local = active ? item / tiles.heads : 0;
      const std::int64_t token = begin + local;

      // Load and rotate back.
      const T* dy = args.dy + token * args.dy_stride + head * args.dy_head;
      Floats<kWidth> g[kKeep];
#pragma unroll
      for (int i = 0; i < kKeep; ++i) {
        const int c = (lane + i * tiles.lanes) * kWidth;
        g[i] = P::load(dy + c, width - c).floats();
      }
      put_row<kWidth>(g, row, lane, tiles.lanes);
#pragma unroll
      for (int i = 0; i < kKeep; ++i) {
        const int c = (lane + i * tiles.lanes) * kWidth;
        rotate<kWidth>(g[i], c, row, angles + local * spread<kWidth>(table.pairs), table.pairs,
                       table.interleaved, -1);
      }

      // Back through the norm and store.
      if (args.w) {
        norm_gradient<T, kWidth, kKeep>(args, args.x + token * args.x_stride + head * args.x_head,
                                        args.rstd[token * args.rstd_stride + head], width, lane, g,
                                        dw);
      }
      T* dx = args.dx + token * args.dx_stride + head * args.dx_head;
#pragma unroll
      for (int i = 0; i < kKeep; ++i) {
        const int c = (lane + i * tiles.lanes) * kWidth;
        P::from(g[i]).store(dx + c, width - c);
      }
      __syncwarp();
    }
  }
  if (!args.w) return;
  __syncthreads();
  store_sums<kWidth, kKeep>(dw, stage, tiles,
                            args.partials + blockIdx.x * static_cast<std::int64_t>(tiles.width));
}

bool in_packets(const QkNormRopeBwd& op) {
  return all_aligned(op.dy, op.x, op.dx, op.w) &&
         rope_in_packets(op.rope, 16 / static_cast<int>(size_of(op.dy.dtype)));
}

template <class T>
Args<T> make_args(const QkNormRopeBwd& op) {
  return {.dy = op.dy.as<T>(),
          .x = op.x.as<T>(),
          .dx = op.dx.as<T>(),
          .w = op.w.data,
          .rstd = op.rstd.as<float>(),
          .partials = nullptr,
          .positions = op.positions.as<std::int32_t>(),
          .dy_stride = op.dy.stride[0],
          .x_stride = op.x.stride[0],
          .dx_stride = op.dx.stride[0],
          .dy_head = op.dy.stride[1],
          .x_head = op.x.stride[1],
          .dx_head = op.dx.stride[1],
          .rstd_stride = op.rstd.stride[0],
          .tiles = {},
          .w_bf16 = op.w.dtype == DType::bf16};
}

}  // namespace

std::string unsupported(const QkNormRopeBwd& op) {
  return unsupported_heads("dy", op.dy, op.rope);
}

void run(const QkNormRopeBwd& op, const Stream& stream) {
  if (op.dy.numel() == 0) return;
  with_real(op.dy.dtype, QkNormRopeBwd::kName, [&](auto real) {
    using T = decltype(real);
    const RopeTable table = make_rope_table(op.rope);
    Args<T> args = make_args<T>(op);
    with_packets<T>(in_packets(op), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      args.tiles = make_head_tiles(op.dy, table.pairs, kWidth);
      const std::int64_t blocks = std::min(tile_count(args.tiles), kBlocks);
      if (op.w.defined()) {
        args.partials = static_cast<float*>(Context::current().workspace(
            stream, static_cast<std::size_t>(blocks * args.tiles.width) * sizeof(float)));
      }
      launch_kernel({QkNormRopeBwd::kName, stream, {op.dy}},
                    {static_cast<unsigned>(blocks), kHeadThreads}, qk_norm_rope_bwd<T, kWidth>,
                    args, table);
      if (op.w.defined()) {
        add_column_sums(QkNormRopeBwd::kName, args.partials, blocks, op.dw, stream);
      }
    });
  });
}

}  // namespace strait::kernels::cuda
