#pragma once

#include "kernels/cuda/cca_fused_fwd.cuh"

// From du to dz: back through the convolutions and the qk-mean. A row collects what later rows owe
// it, so that every output has one owner:
//   dz_t = sum over s of du_{t+s} V_s^T, where row t + s reaches back to t, + the other heads'
//   part.
namespace strait::kernels::cuda::cca {

struct BackwardArgs {
  const bf16* du;  // [T, heads d]
  MixRows<bf16> dz;
  ValueArgs values;  // in units of 16 bytes
  int value_share;   // units that a tile of a head moves
};

struct BackwardShared {
  alignas(1024) bf16 weights[kComposedRows * kHead];
  alignas(256) bf16 zeros[kHead];
  ValueUnits units;
  Turnstile turnstile;
  alignas(256) FusedGroup group[kGroups];
};

/// Grid: (heads, parts), as fused_forward.
__global__ void __launch_bounds__(kFusedThreads, 1)
    fused_backward(const __grid_constant__ Inputs<bf16> in,
                   const __grid_constant__ BackwardArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<BackwardShared*>(memory);
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  FusedGroup& mine = shared.group[group];
  const Tile<kHead> tile_rows{mine.rows}, other{mine.other};
  const int head = static_cast<int>(blockIdx.x), channels = in.channels();
  const OtherHeads others(in, head, false);
  const int per_chunk = (in.halo_rows + in.chunk_rows + kTile - 1) / kTile;
  const TileRange tiles(per_chunk * in.chunks, blockIdx.y, gridDim.y);
  TileSpot at(in, tiles.begin + group, per_chunk, in.halo_rows);

  // Weights; facts of the first tile.
  compose_weights<kFusedThreads>(in, head, shared.weights, nullptr, nullptr);
  shared.units.fill(args.values, args.value_share, head);
  if (threadIdx.x < kHead) shared.zeros[threadIdx.x] = from_float<bf16>(0.0f);
  if (threadIdx.x == 0) shared.turnstile.taken = 0;
  RowFacts(in, at).store(in, at, mine.facts[0]);
  sm90::fence_shared_for_async();
  __syncthreads();
  int turn = 0;
  for (int tile = tiles.begin + group; tile < tiles.end; tile += kGroups, turn ^= 1) {
    const TileFacts& facts = mine.facts[turn];
    const bf16* const rows = args.du + at.token(in) * channels;

    // Rows of du and values set out, and what the next tile needs.
    const int begin = max(-at.first, 0), end = in.chunk_rows - at.first;
    const auto stage_other = [&](int of, Tile<kHead> to) {
      stage_rows<kTile>(to, rows + of * kHead, channels, begin, end);
    };
    stage_rows<kTile + kReach>(tile_rows, rows + head * kHead, channels, begin, end);
    if (others.count > 0) stage_other(others.first, other);
    cp_async_commit();
    load_unshifted(args.values, at, facts, shared.units, mine.values);
    const TileSpot next = at.after(in, kGroups, per_chunk, in.halo_rows);
    const RowFacts next_facts(in, next);
    const std::int64_t ahead = next.token(in) + max(-next.first, 0);
    prefetch_lines(args.du + ahead * channels + head * kHead, channels,
                   min(kTile, in.chunk_rows - max(next.first, 0)));
    cp_async_wait<1>();
    if (group_thread() == 0) shared.turnstile.enter();
    sync_group();

    // Both convolutions.
    float dz[kHead / 2];
    std::uint32_t taps[kComposedTaps];
    const int lane = fresh(lane_id()), i = group_thread() / kWarp * 16 + lane % 16;
#pragma unroll
    for (int s = 0; s < kComposedTaps; ++s) {
      taps[s] = facts.reaches(i + s, s) ? operand_row(mine.rows, i + s, lane)
                                        : operand_row(shared.zeros, 0, lane);
    }
    multiply_taps<Along::depth>(dz, taps, shared.weights);
    next_facts.store(in, next, mine.facts[turn ^ 1]);
    sync_group();
    if (group_thread() == 0) shared.turnstile.leave();

    // Mean; rows and values to their end.
    add_others(others, other, tile_rows, dz, stage_other);
    if (others.count > 1) sync_group();
    put_rows(tile_rows, dz);
    const TileRows<bf16> out(args.dz, at);
    store_rows(tile_rows,
               [&](int row) { return row < at.rows ? out.at(row) + head * kHead : nullptr; });
    cp_async_wait<0>();
    store_unshifted(args.values, at, shared.units, mine.values);
    at = next;
    sync_group();
  }
#endif
}

}  // namespace strait::kernels::cuda::cca
