#pragma once

#include "kernels/cuda/cca_progress.cuh"

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

/// One warpgroup has a warp that loads and three for db1, each of the others half of the inputs.
inline constexpr int kPairThreads = 2 * kWarpgroup;
inline constexpr int kCorrelateThreads = kWarpgroup + kPairThreads;
inline constexpr int kBiasWarps = 3, kBiasThreads = kBiasWarps * kWarp;

/// Place among the threads that multiply.
__device__ __forceinline__ int pair_thread() {
  return fresh(threadIdx.x) - kWarpgroup;
}

struct CorrelationArgs {
  CUtensorMap z, du;  // boxes of kBoxRows rows
  float* partials;
  Progress done;
  HeadBlocks blocks;  // as many of every head
};

struct CorrelationShared {
  Slots<8, kPairThreads / kWarp + kBiasWarps> slots;
  float db1[kBiasThreads / 16][kHead];
};
using CorrelationSlots = decltype(CorrelationShared::slots);

/// Loads the tiles' rows of z from kReach before them on and of du. One warp.
__device__ __forceinline__ void load_pairs(const Inputs<bf16>& in, const CorrelationArgs& args,
                                           const BlockTiles& tiles, CorrelationSlots& slots) {
  CorrelationSlots::Ring ring;
  Frontier frontier{args.done, tiles.head, 0, 0};
  for (int i = 0; i < tiles.count(); ++i) {
    const TileSpot at = tiles.at(in, i);
    if (lane_id() == 0) slots.load(ring, args.z, at.first - kReach, tiles.head, at.chunk);
    frontier.wait(in, at.chunk, at.first + kTile);
    if (lane_id() == 0) slots.load(ring, args.du, at.first, tiles.head, at.chunk);
    __syncwarp();
  }
}

/// Which of the rows of z that a thread reads count: how many of the kReach rows before it every
/// row of du reaches, two bits for each 16 rows of a tile.
struct PairFacts {
  static constexpr int kSteps = kTile / 16;
  int reach = 0;

  __device__ PairFacts(const Inputs<bf16>& in, const TileSpot& at) {
    const int lane = fresh(lane_id());
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int i = min(16 * step + lane % 8 + lane / 16 * 8, at.rows - 1);
      const int history = min(in.doc_pos[at.token(in) + i], at.first + i + in.halo_rows);
      reach |= min(history, kReach) << 2 * step;
    }
  }
  __device__ bool reaches(int step, int back) const {
    return (reach >> 2 * step & 3) >= back;
  }
};

/// Adds a tile to this warpgroup's half of the inputs of every C_s. While a product runs, the
/// operand of the next is loaded.
__device__ __forceinline__ void add_pairs(const PairFacts& facts, Slot& z, Slot& du,
                                          float (&sums)[kComposedTaps][kHead / 2]) {
  const int lane = fresh(lane_id()), chunk = pair_thread() / kWarp * 2 + lane / 8 % 2;
  const int first = lane % 8 + lane / 16 * 8 + kReach;
  const bf16* const zeros = z.at(kZeroRow, chunk);
  const bf16* rows[kComposedTaps];  // of the first 16; those behind have the same permutation
#pragma unroll
  for (int back = 0; back < kComposedTaps; ++back) rows[back] = z.at(first - back, chunk);
  const std::uint64_t b = uniform_operand<Slot::kRows>(du.piece[0]);
  std::uint32_t a[2][4];
#pragma unroll
  for (int n = 0; n < PairFacts::kSteps * kComposedTaps; ++n) {
    const int step = n / kComposedTaps, back = n % kComposedTaps;
    const bf16* const from = rows[back] + 16 * step * kPieceColumns;
    if (n >= 2) sm90::wait_products<1>();
    load_matrices_transposed(a[n % 2], facts.reaches(step, back) ? from : zeros);
    sm90::begin_products();
    sm90::Product<kHead>::registers<Along::rows>(
        sums[back], a[n % 2], b + sm90::depth_offset<Along::rows, Slot::kRows>(step), true);
    sm90::commit_products();
  }
  sm90::wait_products<0>();
}

/// Sums of du over the tiles, to the part's db1: eight channels a lane. kBiasWarps warps.
__device__ __forceinline__ void sum_bias(const BlockTiles& tiles, CorrelationShared& shared,
                                         float* db1) {
  const int thread = static_cast<int>(threadIdx.x) - kWarp, packet = thread % 16;
  const int first = thread / 16;
  Floats<8> sum = {};
  CorrelationSlots::Ring ring;
  for (int index = 0; index < tiles.count(); ++index) {
    CorrelationSlots::Ring z_ring = ring;
    ring.advance();
    Slot& du = shared.slots.wait(ring);  // then those of z are there, too
#pragma unroll 2
    for (int row = first; row < kTile; row += kBiasThreads / 16) {
      const auto x = Packet<bf16, 8>::load(du.at(row, packet));
#pragma unroll
      for (int j = 0; j < 8; ++j) sum[j] += x.get(j);
    }
    shared.slots.release(z_ring);
    shared.slots.release(ring);
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) shared.db1[first][packet * 8 + j] = sum[j];
  sm90::sync_threads(4, kBiasThreads);
  for (int c = thread; c < kHead; c += kBiasThreads) {
    float total = 0;
    for (const auto& rows : shared.db1) total += rows[c];
    db1[c] = total;
  }
}

/// Sums over the tiles of a block, to its part of the partial sums.
__device__ __forceinline__ void sum_pairs(const Inputs<bf16>& in, const CorrelationArgs& args,
                                          const BlockTiles& tiles, CorrelationShared& shared) {
  const int thread = pair_thread(), head = tiles.head;
  float sums[kComposedTaps][kHead / 2] = {};
  CorrelationSlots::Ring ring;
  PairFacts facts(in, tiles.at(in, 0));
  for (int index = 0; index < tiles.count(); ++index) {
    const TileSpot at = tiles.at(in, index);
    const PairFacts next_facts(in, tiles.at(in, index + 1));
    Slot& z = shared.slots.wait(ring);
    if (in.halo_rows > 0 && at.first == 0) {
      load_halo(in, at.chunk, head, z, thread);
      sm90::sync_threads(1, kPairThreads);
    }
    CorrelationSlots::Ring z_ring = ring;
    ring.advance();
    Slot& du = shared.slots.wait(ring);
    add_pairs(facts, z, du, sums);
    facts = next_facts;
    shared.slots.release(z_ring);
    shared.slots.release(ring);
  }

  // Store the part's sums.
  const PartialLayout layout(in.heads);
  float* const out = args.partials + tiles.part * layout.size;
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
}

/// Grid: args.blocks.
__global__ void __launch_bounds__(kCorrelateThreads, 1)
    correlate(const __grid_constant__ Inputs<bf16> in,
              const __grid_constant__ CorrelationArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<CorrelationShared*>(memory);
  allow_next_launch();
  const BlockTiles tiles(in, 0, args.blocks);
  shared.slots.init();
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    sm90::release_registers<40>();
    const PartialLayout layout(in.heads);
    float* const db1 = args.partials + tiles.part * layout.size + layout.db1 + tiles.head * kHead;
    if (warp_id() == 0) load_pairs(in, args, tiles, shared.slots);
    if (warp_id() > 0) sum_bias(tiles, shared, db1);
  } else {
    sm90::take_registers<232>();
    sum_pairs(in, args, tiles, shared);
  }
  wait_for_last_launch();
#endif
}

/// The gradients, f32.
struct WeightTargets {
  float *dw0, *db0, *dw1, *db1, *dtemp;
};

__device__ __forceinline__ void accumulate(float& to, double x) {
  to = static_cast<float>(to + x);
}

/// Grid: (inputs of a head, heads), a thread an output: the chain rule from C and db1 on. Sums of
/// parts in their order, in double.
__global__ void __launch_bounds__(kHead)
    finish_weights(const __grid_constant__ Inputs<bf16> in, const WeightTargets targets,
                   const float* partials, int parts, const float* dtemp, Progress undone) {
  __shared__ double totals[3][kHead / kWarp];
  const int head = static_cast<int>(blockIdx.y), c = static_cast<int>(blockIdx.x);
  const int o = static_cast<int>(threadIdx.x), channel = head * kHead + c;
  const std::int64_t old_at = (static_cast<std::int64_t>(head) * 2 * kHead + c) * kHead + o;
  const std::int64_t new_at = old_at + kHead * kHead;
  const double b0 = in.b0.at(channel), w_old = to_float(in.w0[channel]),
               w_new = to_float(in.w0[in.channels() + channel]);
  const double v_old = to_float(in.w1[old_at]), v_new = to_float(in.w1[new_at]);
  const float dw1_old = targets.dw1[old_at], dw1_new = targets.dw1[new_at];
  wait_for_last_launch();

  const PartialLayout layout(in.heads);
  const float* from = partials + (head * kComposedRows + c) * kHead + o;
  const float* bias = partials + layout.db1 + head * kHead + o;
  double sums[kComposedTaps] = {}, db1 = 0;
#pragma unroll 4
  for (int p = 0; p < parts; ++p) {
#pragma unroll
    for (int s = 0; s < kComposedTaps; ++s) sums[s] += from[s * kHead * kHead];
    db1 += *bias;
    from += layout.size;
    bias += layout.size;
  }

  // dw1, oldest tap first.
  targets.dw1[old_at] = static_cast<float>(dw1_old + b0 * db1 + w_new * sums[1] + w_old * sums[2]);
  targets.dw1[new_at] = static_cast<float>(dw1_new + b0 * db1 + w_new * sums[0] + w_old * sums[1]);

  // dw0 and db0, sums over the outputs.
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
  if (c == 1 && o == 0 && key >= 0) {
    double sum = 0;
    for (int p = 0; p < undone.blocks.key; ++p) sum += dtemp[p * in.groups + key];
    accumulate(targets.dtemp[key], sum);
  }
  if (c == 2) undone.clear(in, head);
}

}  // namespace strait::kernels::cuda::cca
