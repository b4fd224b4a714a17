#pragma once

#include "kernels/cuda/cca_fused.cuh"

// Gradients of the fused path's parameters. All of them follow from db1, the sum of du, and from
// three correlations of a head, C_s[c][o] = sum over t of z_{t-s}[c] du_t[o] where t reaches back
// s: the chain rule of V (cca_fused.cuh).
namespace strait::kernels::cuda::cca {

/// Partial sums of a part: C [heads, 3, d, d], then db1 [heads, d].
struct PartialLayout {
  std::int64_t db1, size;

  __host__ __device__ explicit PartialLayout(int heads)
      : db1(static_cast<std::int64_t>(heads) * kComposedRows * kHead), size(db1 + heads * kHead) {}
};

inline constexpr int kStages = 3;
inline constexpr int kCorrelateThreads = 2 * kWarpgroup;  // a warpgroup has half of the inputs

/// A tile on its way to the products.
struct CorrelationStage {
  alignas(1024) bf16 du[2][kTile * kPieceColumns];  // in pieces (see sm90::operand)
  alignas(256) bf16 z[(kTile + kReach) * kHead];    // row i of the tile at i + kReach
};

struct CorrelationShared {
  CorrelationStage stage[kStages];
  alignas(256) bf16 zeros[kHead];
  TileFacts facts[2];
  float2 db1[kCorrelateThreads];
};

/// Starts copying a tile's rows of z and du; zeros behind the chunk. What lies before a document is
/// copied too, and not used.
__device__ __forceinline__ void stage_tile(const Inputs<bf16>& in, const bf16* du,
                                           const TileSpot& at, int head, bool wanted,
                                           CorrelationStage& to) {
  constexpr int kAtOnce = kCorrelateThreads / 16;
  if (wanted) {
    const TileRows<const bf16> z(in.z, at);
    const int thread = fresh(threadIdx.x), packet = thread % 16, first = thread / 16;
    const int channel = head * kHead + packet * 8;
    const bf16* z_row = z.rows + ((first - kReach) * z.stride + channel);
    const bf16* du_row =
        du + at.token(in) * in.channels() + ((first - kReach) * in.channels() + channel);
    bf16* z_place = Tile<kHead>{to.z}.at(first, packet);
    const Tile<kPieceColumns> piece{to.du[packet / 8]};
#pragma unroll
    for (int step = 0; step < (kTile + kReach + kAtOnce - 1) / kAtOnce; ++step) {
      const int i = first - kReach + step * kAtOnce;
      if (i >= kTile) break;
      const bool exists = i < at.rows && at.first + i + in.halo_rows >= 0;
      const bf16* from = at.first + i >= 0 ? z_row : z.at(i) + channel;
      cp_async_16(z_place + step * kAtOnce * kHead, exists ? from : in.z.rows, exists);
      if (i >= 0) cp_async_16(piece.at(i, packet % 8), exists ? du_row : du, exists);
      z_row += kAtOnce * z.stride;
      du_row += kAtOnce * in.channels();
    }
  }
  cp_async_commit();
}

/// Adds a tile to this warpgroup's half of the inputs of every C_s.
__device__ __forceinline__ void add_products(const TileFacts& facts, const CorrelationStage& stage,
                                             const bf16* zeros,
                                             float (&sums)[kComposedTaps][kHead / 2]) {
  const Tile<kHead> z{const_cast<bf16*>(stage.z)};
  const int lane = fresh(lane_id()), chunk = warp_id() * 2 + lane / 8 % 2;
  const std::uint64_t b = uniform_operand<kTile>(stage.du[0]);
#pragma unroll
  for (int back = 0; back < kComposedTaps; ++back) {
    multiply_steps<kTile / 16, Along::rows>(
        sums[back], true,
        [&](int step, std::uint32_t(&a)[4]) {
          const int i = 16 * step + lane % 8 + lane / 16 * 8;
          const bf16* row = z.at(i + kReach - back, chunk);
          load_matrices_transposed(a, facts.reaches(i, back) ? row : zeros);
        },
        [&](int step) { return b + sm90::depth_offset<Along::rows, kTile>(step); });
  }
}

/// Two channels of db1, every fourth row.
__device__ __forceinline__ void add_rows(const CorrelationStage& stage, float2& sum) {
  const int thread = fresh(threadIdx.x), pair = thread % 64, first = thread / 64;
  const Tile<kPieceColumns> piece{const_cast<bf16*>(stage.du[pair / 32])};
#pragma unroll 4
  for (int i = first; i < kTile; i += kCorrelateThreads / 64) {
    const auto x = Packet<bf16, 2>::load(piece.at(i, pair % 32 / 4) + pair % 4 * 2);
    sum.x += x.get(0);
    sum.y += x.get(1);
  }
}

/// Grid: (heads, parts); a block walks its part of the tiles of its head.
__global__ void __launch_bounds__(kCorrelateThreads, 1)
    correlate(const __grid_constant__ Inputs<bf16> in, const bf16* du, float* partials) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<CorrelationShared*>(memory);
  const int head = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int per_chunk = (in.chunk_rows + kTile - 1) / kTile;
  const TileRange tiles(per_chunk * in.chunks, blockIdx.y, gridDim.y);
  float sums[kComposedTaps][kHead / 2] = {};
  float2 db1 = {};

  if (thread < kHead) shared.zeros[thread] = from_float<bf16>(0.0f);
  const auto tile_at = [&](int tile) { return TileSpot(in, tile, per_chunk, 0); };
  if (thread < kWarpgroup) {
    const TileSpot at = tile_at(tiles.begin);
    RowFacts(in, at).store(in, at, shared.facts[0]);
  }
  for (int s = 0; s < kStages - 1; ++s) {
    const int tile = tiles.begin + s;
    stage_tile(in, du, tile_at(tile), head, tile < tiles.end, shared.stage[s]);
  }
  int turn = 0, slot = 0;
  for (int tile = tiles.begin; tile < tiles.end; ++tile, turn ^= 1) {
    const TileSpot next = tile_at(tile + 1);
    const RowFacts next_facts(in, next);
    cp_async_wait<kStages - 2>();
    sm90::fence_shared_for_async();
    __syncthreads();
    const int free_slot = slot == 0 ? kStages - 1 : slot - 1, ahead = tile + kStages - 1;
    stage_tile(in, du, tile_at(ahead), head, ahead < tiles.end, shared.stage[free_slot]);
    add_products(shared.facts[turn], shared.stage[slot], shared.zeros, sums);
    add_rows(shared.stage[slot], db1);
    if (thread < kWarpgroup) next_facts.store(in, next, shared.facts[turn ^ 1]);
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }

  // Store the part's sums.
  const PartialLayout layout(in.heads);
  float* const out = partials + blockIdx.y * layout.size;
  const int input = thread / kWarpgroup * 64 + thread_row();
#pragma unroll
  for (int back = 0; back < kComposedTaps; ++back) {
    const std::int64_t row = static_cast<std::int64_t>(head * kComposedTaps + back) * kHead + input;
    float* to = out + row * kHead + 2 * (lane_id() % 4);
#pragma unroll
    for (int n = 0; n < kStrips; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float2*>(to + half * 8 * kHead + n * 8) =
            make_float2(sums[back][4 * n + 2 * half], sums[back][4 * n + 2 * half + 1]);
      }
    }
  }
  shared.db1[thread] = db1;
  __syncthreads();
  if (thread >= 64) return;
  for (int i = 1; i < kCorrelateThreads / 64; ++i) {
    db1.x += shared.db1[i * 64 + thread].x;
    db1.y += shared.db1[i * 64 + thread].y;
  }
  *reinterpret_cast<float2*>(out + layout.db1 + head * kHead + 2 * thread) = db1;
#endif
}

/// The gradients, f32.
struct WeightTargets {
  float *dw0, *db0, *dw1, *db1, *dtemp;
};

/// Partial sums in the order of the parts, in double.
__device__ __forceinline__ double sum_parts(const float* partials, std::int64_t stride, int parts) {
  double sum = 0;
#pragma unroll 8
  for (int p = 0; p < parts; ++p) sum += partials[p * stride];
  return sum;
}

__device__ __forceinline__ void accumulate(float& to, double x) {
  to = static_cast<float>(to + x);
}

/// Grid: (inputs of a head, heads), a thread an output: the chain rule from C and db1 on.
__global__ void __launch_bounds__(kHead)
    finish_weights(const __grid_constant__ Inputs<bf16> in, const WeightTargets targets,
                   const float* partials, const float* dtemp, int parts) {
  __shared__ double totals[3][kHead / kWarp];
  const int head = static_cast<int>(blockIdx.y), c = static_cast<int>(blockIdx.x);
  const int o = static_cast<int>(threadIdx.x), channel = head * kHead + c;
  const PartialLayout layout(in.heads);
  double sums[kComposedTaps];
  for (int s = 0; s < kComposedTaps; ++s) {
    const std::int64_t row = (static_cast<std::int64_t>(head) * kComposedTaps + s) * kHead + c;
    sums[s] = sum_parts(partials + row * kHead + o, layout.size, parts);
  }
  const double db1 = sum_parts(partials + layout.db1 + head * kHead + o, layout.size, parts);

  // dw1, oldest tap first.
  const double b0 = in.b0.at(channel), w_old = to_float(in.w0[channel]),
               w_new = to_float(in.w0[in.channels() + channel]);
  const std::int64_t old_at = (static_cast<std::int64_t>(head) * 2 * kHead + c) * kHead + o;
  const std::int64_t new_at = old_at + kHead * kHead;
  accumulate(targets.dw1[old_at], b0 * db1 + w_new * sums[1] + w_old * sums[2]);
  accumulate(targets.dw1[new_at], b0 * db1 + w_new * sums[0] + w_old * sums[1]);

  // dw0 and db0, sums over the outputs.
  const double v_old = to_float(in.w1[old_at]), v_new = to_float(in.w1[new_at]);
  const double shares[3] = {v_new * sums[1] + v_old * sums[2], v_new * sums[0] + v_old * sums[1],
                            (v_new + v_old) * db1};
  for (int i = 0; i < 3; ++i) {
    const double sum = warp_reduce(shares[i]);
    if (lane_id() == 0) totals[i][warp_id()] = sum;
  }
  __syncthreads();
  if (o < 3) {
    double sum = 0;
    for (int w = 0; w < kHead / kWarp; ++w) sum += totals[o][w];
    accumulate(o < 2 ? targets.dw0[o * in.channels() + channel] : targets.db0[channel], sum);
  }
  if (c == 0) accumulate(targets.db1[channel + o], db1);
  const int key = head - in.query_heads;
  if (c == 0 && o == 0 && key >= 0) {
    accumulate(targets.dtemp[key], sum_parts(dtemp + key, in.groups, parts));
  }
}

}  // namespace strait::kernels::cuda::cca
