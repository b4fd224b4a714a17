#include "kernels/cuda/head_rows.cuh"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace {

template <class T>
struct Args {
  const T* x;
  T* y;
  const void* w;  // or null: no norm
  float* rstd;
  const std::int32_t* positions;
  std::int64_t x_stride, y_stride, x_head, y_head, rstd_stride;
  HeadTiles tiles;
  bool w_bf16;
  float eps;
};

template <class T, int kWidth>
__global__ __launch_bounds__(kHeadThreads) void qk_norm_rope_fwd(
    const __grid_constant__ Args<T> args, const __grid_constant__ RopeTable table) {
  using P = Packet<T, kWidth>;
  constexpr int kKeep = kHeadPackets<kWidth>;
  __shared__ float2 angles[kAngles<kWidth>];
  __shared__ float stage[kStage<kWidth>];
  const HeadTiles& tiles = args.tiles;
  const int lane = threadIdx.x % tiles.lanes, group = threadIdx.x / tiles.lanes;
  const int groups = kHeadThreads / tiles.lanes;
  float* row = stage + group * spread<kWidth>(tiles.lanes * kKeep * kWidth);

  const std::int64_t begin = blockIdx.x * static_cast<std::int64_t>(tiles.tile);
  const int tokens =
      static_cast<int>(min(static_cast<std::int64_t>(tiles.tile), tiles.tokens - begin));
  fill_angles<kWidth>(table, args.positions, begin, tokens, angles);
  __syncthreads();

  const int items = tokens * tiles.heads;
  for (int base = 0; base < items; base += groups) {
    const int item = base + group;
    const bool active = item < items;
    const int token = active ? item / tiles.heads : 0, head = active ? item % tiles.heads : 0;
    const int width = active ? tiles.width : 0;

    // Load and normalise.
    const T* x = args.x + (begin + token) * args.x_stride + head * args.x_head;
    Floats<kWidth> v[kKeep];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = (lane + i * tiles.lanes) * kWidth;
      v[i] = P::load(x + c, width - c).floats();
#pragma unroll
      for (int j = 0; j < kWidth; ++j) squares = fmaf(v[i][j], v[i][j], squares);
    }
    if (args.w) {
      squares = group_reduce(squares, tiles.lanes);
      const float mean = __fdiv_rn(squares, static_cast<float>(tiles.width));
      const float rstd = __frsqrt_rn(mean + args.eps);
      if (active && lane == 0) args.rstd[(begin + token) * args.rstd_stride + head] = rstd;
#pragma unroll
      for (int i = 0; i < kKeep; ++i) {
        const int c = (lane + i * tiles.lanes) * kWidth;
        const Floats<kWidth> w = load_wide<kWidth>(args.w, args.w_bf16, c, tiles.width - c);
#pragma unroll
        for (int j = 0; j < kWidth; ++j) v[i][j] *= rstd * w[j];
      }
    }

    // Rotate through shared memory and store.
    put_row<kWidth>(v, row, lane, tiles.lanes);
    T* y = args.y + (begin + token) * args.y_stride + head * args.y_head;
#pragma unroll
    for (int i = 0; i < kKeep; ++i) {
      const int c = (lane + i * tiles.lanes) * kWidth;
      if (c >= width) break;
      rotate<kWidth>(v[i], c, row, angles + token * spread<kWidth>(table.pairs), table.pairs,
                     table.interleaved, 1);
      P::from(v[i]).store(y + c, width - c);
    }
    __syncwarp();
  }
}

bool in_packets(const QkNormRopeFwd& op) {
  return all_aligned(op.x, op.y, op.w) &&
         rope_in_packets(op.rope, 16 / static_cast<int>(size_of(op.x.dtype)));
}

}  // namespace

std::string unsupported(const QkNormRopeFwd& op) {
  return unsupported_heads("x", op.x, op.rope);
}

void run(const QkNormRopeFwd& op, const Stream& stream) {
  if (op.x.numel() == 0) return;
  with_real(op.x.dtype, QkNormRopeFwd::kName, [&](auto real) {
    using T = decltype(real);
    const RopeTable table = make_rope_table(op.rope);
    Args<T> args{.x = op.x.as<T>(),
                 .y = op.y.as<T>(),
                 .w = op.w.data,
                 .rstd = op.rstd.as<float>(),
                 .positions = op.positions.as<std::int32_t>(),
                 .x_stride = op.x.stride[0],
                 .y_stride = op.y.stride[0],
                 .x_head = op.x.stride[1],
                 .y_head = op.y.stride[1],
                 .rstd_stride = op.rstd.stride[0],
                 .tiles = {},
                 .w_bf16 = op.w.dtype == DType::bf16,
                 .eps = static_cast<float>(op.eps)};
    with_packets<T>(in_packets(op), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      args.tiles = make_head_tiles(op.x, table.pairs, kWidth);
      launch_kernel({QkNormRopeFwd::kName, stream, {op.x}},
                    {static_cast<unsigned>(tile_count(args.tiles)), kHeadThreads},
                    qk_norm_rope_fwd<T, kWidth>, args, table);
    });
  });
}

}  // namespace strait::kernels::cuda
