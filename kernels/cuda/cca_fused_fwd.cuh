#pragma once

#include "kernels/cuda/cca_fused_norm.cuh"
#include "kernels/cuda/cca_fused_values.cuh"

// From z to normalised, rotated q and k (kUndo: from z, dq and dk to du, the gradient of the
// convolutions' output).
namespace strait::kernels::cuda::cca {

/// A tensor over query heads and one over key heads.
template <class T>
struct HeadPair {
  T *query, *key;
  std::int64_t query_token, query_head, key_token, key_head;
};

/// The rows of one head from a token on.
template <class T>
struct HeadRows {
  T* rows;
  int stride;

  __device__ HeadRows(const HeadPair<T>& of, std::int64_t token, int head, int query_heads) {
    const bool is_query = head < query_heads;
    rows = is_query ? of.query + token * of.query_token + head * of.query_head
                    : of.key + token * of.key_token + (head - query_heads) * of.key_head;
    stride = static_cast<int>(is_query ? of.query_token : of.key_token);
  }
};

struct ForwardArgs {
  HeadPair<bf16> out;         // q and k, or du
  HeadPair<const bf16> dout;  // dq and dk
  float* dtemp;               // [parts][groups] partial sums
  ValueArgs values;           // in units of 16 bytes
  int value_share;            // units that a tile of a head moves
};

struct ForwardShared {
  alignas(1024) bf16 weights[kComposedRows * kHead];
  alignas(256) bf16 zeros[kHead];
  alignas(16) float bias[kHead];
  PairFrequencies frequencies;
  ValueUnits units;
  Turnstile turnstile;
  float dtau[kFusedThreads / kWarp];
  alignas(256) FusedGroup group[kGroups];
};

/// Starts copying this head's rows of z, those before a chunk from its halo. What lies before a
/// document is copied too, and not used; rows that do not exist are not copied, nor used.
__device__ __forceinline__ void stage_inputs(const Inputs<bf16>& in, const TileSpot& at, int head,
                                             Tile<kHead> to) {
  const TileRows<const bf16> from(in.z, at);
  const bf16* const rows = from.rows + head * kHead;
  const int before = at.first > 0 ? kReach : 0, stride = from.stride;
  stage_rows<kTile + kReach, false>(to, rows - kReach * stride, stride, kReach - before,
                                    kReach + at.rows);
  if (before == 0 && in.halo_rows > 0 && group_thread() < 16 * kReach) {
    const int place = group_thread() / 16, packet = group_thread() % 16;
    const bf16* row = from.at(place - kReach) + (head * kHead + packet * 8);
    cp_async_16(to.at(place, packet), row, true);
  }
}

/// Starts copying the tile's rows of another head.
__device__ __forceinline__ void stage_other(const Inputs<bf16>& in, const TileSpot& at, int head,
                                            Tile<kHead> to) {
  const TileRows<const bf16> from(in.z, at);
  stage_rows<kTile>(to, from.rows + head * kHead, from.stride, 0, at.rows);
}

/// Where this lane's row of the tile begins for each tap.
__device__ __forceinline__ void find_rows(const TileFacts& facts, const bf16* z, const bf16* zeros,
                                          std::uint32_t (&rows)[kComposedTaps]) {
  const int lane = fresh(lane_id()), i = group_thread() / kWarp * 16 + lane % 16;
  const int reach = facts.history(i);
#pragma unroll
  for (int back = 0; back < kComposedTaps; ++back) {
    rows[back] =
        back <= reach ? operand_row(z, i + kReach - back, lane) : operand_row(zeros, 0, lane);
  }
}

/// Sets out the copies that a tile needs before its products, and those of the next tile to L2;
/// returns once the rows are there and the warpgroup has the tensor cores.
template <bool kUndo>
__device__ __forceinline__ void begin_tile(const Inputs<bf16>& in, const ForwardArgs& args,
                                           const TileSpot& at, const TileSpot& next, int head,
                                           const OtherHeads& others, const TileFacts& facts,
                                           ForwardShared& shared, FusedGroup& mine) {
  stage_inputs(in, at, head, {mine.rows});
  if (others.count > 0) stage_other(in, at, others.first, {mine.other});
  cp_async_commit();
  if constexpr (kUndo) {
    const HeadRows<const bf16> dout(args.dout, at.token(in), head, in.query_heads);
    prefetch_lines(dout.rows, dout.stride, at.rows);
  } else {
    load_shifted(args.values, at, facts, shared.units, mine.values);
  }
  prefetch_rows(in, next, head);
  cp_async_wait<kUndo ? 0 : 1>();
  if (group_thread() == 0) shared.turnstile.enter();
  sync_group();
}

/// Puts du in the place of y, given dq or dk; returns this thread's share of the gradient of tau.
template <int kPairStrips>
__device__ __forceinline__ float undo_rows(const TileSpot& at, const TileFacts& facts, float tau,
                                           const PairFrequencies& frequencies, Tile<kHead> dout,
                                           float (&y)[kHead / 2]) {
  float dtau = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const bool inside = thread_row() + 8 * half < at.rows;
    dtau += undo_row<kPairStrips>(facts, tau, inside, frequencies, dout, half, y);
    __syncwarp();  // one row's values at a time fit the registers
  }
  return dtau;
}

/// The block's partial sum of dtemp; each row's share is in its four lanes.
__device__ __forceinline__ void store_dtemp(const Inputs<bf16>& in, const ForwardArgs& args,
                                            int key, float tau, float dtau, ForwardShared& shared) {
  dtau = warp_reduce(lane_id() % 4 == 0 ? dtau : 0.0f);
  if (lane_id() == 0) shared.dtau[warp_id()] = dtau;
  __syncthreads();
  if (key < 0 || threadIdx.x != 0) return;
  double sum = 0;
  for (int w = 0; w < kFusedThreads / kWarp; ++w) sum += shared.dtau[w];
  args.dtemp[blockIdx.y * in.groups + key] = static_cast<float>(in.exponential ? sum * tau : sum);
}

/// Grid: (heads, parts); a block walks its part of the tiles of its head, so that the heads of a
/// group meet the same rows of z at about the same time.
template <int kPairStrips, bool kUndo>
__global__ void __launch_bounds__(kFusedThreads, 1)
    fused_forward(const __grid_constant__ Inputs<bf16> in, const __grid_constant__ ForwardArgs args,
                  const __grid_constant__ RopeTable table) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<ForwardShared*>(memory);
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  FusedGroup& mine = shared.group[group];
  const Tile<kHead> z{mine.rows}, other{mine.other};
  const int head = static_cast<int>(blockIdx.x), key = head - in.query_heads;
  const float tau = key >= 0 ? in.key_factor(key) : 1.0f;
  const OtherHeads others(in, head, true);
  const int per_chunk = (in.chunk_rows + kTile - 1) / kTile;
  const TileRange tiles(per_chunk * in.chunks, blockIdx.y, gridDim.y);
  TileSpot at(in, tiles.begin + group, per_chunk, 0);
  float dtau = 0;

  // Weights; facts of the first tile.
  prefetch_rows(in, at, head);
  compose_weights<kFusedThreads>(in, head, shared.weights, shared.bias,
                                 reinterpret_cast<float*>(shared.group[0].rows));
  shared.frequencies.fill(table, threadIdx.x);
  if constexpr (!kUndo) shared.units.fill(args.values, args.value_share, head);
  if (threadIdx.x < kHead) shared.zeros[threadIdx.x] = from_float<bf16>(0.0f);
  if (threadIdx.x == 0) shared.turnstile.taken = 0;
  RowFacts(in, at).store(in, at, mine.facts[0]);
  sm90::fence_shared_for_async();
  __syncthreads();
  int turn = 0;
  for (int tile = tiles.begin + group; tile < tiles.end; tile += kGroups, turn ^= 1) {
    const TileFacts& facts = mine.facts[turn];
    const TileSpot next = at.after(in, kGroups, per_chunk, 0);
    const RowFacts next_facts(in, next);
    begin_tile<kUndo>(in, args, at, next, head, others, facts, shared, mine);

    // Both convolutions.
    float y[kHead / 2];
    std::uint32_t taps[kComposedTaps];
    find_rows(facts, mine.rows, shared.zeros, taps);
    multiply_taps<Along::rows>(y, taps, shared.weights);
    next_facts.store(in, next, mine.facts[turn ^ 1]);
    sync_group();
    if (group_thread() == 0) shared.turnstile.leave();

    // Mean, then norm and rotation, or back through them.
    const auto stage_dout = [&] {
      const HeadRows<const bf16> dout(args.dout, at.token(in), head, in.query_heads);
      stage_rows<kTile>(z, dout.rows, dout.stride, 0, at.rows);
      cp_async_commit();
    };
    const bool both_tiles = others.count > 1;  // the mean needs z's place, too
    if (kUndo && !both_tiles) stage_dout();
    add_bias(shared.bias, y);
    add_others(others, other, z, y, [&](int h, Tile<kHead> to) { stage_other(in, at, h, to); });
    if (both_tiles) sync_group();
    if constexpr (kUndo) {
      if (both_tiles) stage_dout();
      cp_async_wait<0>();
      sync_group();
      dtau += undo_rows<kPairStrips>(at, facts, tau, shared.frequencies, z, y);
    } else {
      turn_rows<kPairStrips>(facts, tau, shared.frequencies, y);
    }

    // Rows and values to their end.
    put_rows(z, y);
    const HeadRows<bf16> out(args.out, at.token(in), head, in.query_heads);
    store_rows(z, [&](int i) { return i < at.rows ? out.rows + i * out.stride : nullptr; });
    if constexpr (!kUndo) {
      cp_async_wait<0>();
      store_shifted(args.values, at, shared.units, mine.values);
    }
    at = next;
    sync_group();
  }
  if constexpr (kUndo) store_dtemp(in, args, key, tau, dtau, shared);
#endif
}

}  // namespace strait::kernels::cuda::cca
