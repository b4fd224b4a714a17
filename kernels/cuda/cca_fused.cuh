#pragma once

#include "kernels/cuda/cca_mix.cuh"
#include "kernels/cuda/cca_wgmma.cuh"
#include "kernels/cuda/mma_tile.cuh"

// The fused path of the CCA mix on Hopper: bf16, heads of 128, two taps each. The two convolutions
// of a head are one of three taps: with history cut where z is,
//   u_t = b1 + b0 (W1[0] + W1[1]) + sum over s of z_{t-s} V_s,
//   V_0 = w0[1] W1[1], V_1 = w0[0] W1[1] + w0[1] W1[0], V_2 = w0[0] W1[0]  (w0 scales rows),
// and a head's own part of the qk-mean is a diagonal in V_0. So rows go to the tensor cores as they
// lie in memory, forward and backward. A block keeps one head's V in shared memory; each of its
// warpgroups walks tiles of 64 rows of its own, and a thread keeps what wgmma gives it: channels
// 8 s + 2 (lane % 4) + {0, 1} of rows 16 warp + lane / 4 + {0, 8}, at [4 s + 2 half + e].
namespace strait::kernels::cuda::cca {

using sm90::Along;

inline constexpr int kHead = 128;  // width of a head
inline constexpr int kTile = 64;   // rows of a tile
inline constexpr int kReach = 2;   // rows that a row takes something from besides itself
inline constexpr int kComposedTaps = kReach + 1, kComposedRows = kComposedTaps * kHead;
inline constexpr int kStrips = kHead / 8;           // of eight channels
inline constexpr int kWeights = 2 * kHead * kHead;  // of a head in w1
using sm90::kWarpgroup;

/// x, which the compiler then knows nothing about: what is worked out from it inside a loop does
/// not wait in registers from one round to the next.
__device__ __forceinline__ int fresh(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

/// Place in the warpgroup, threads of which meet at barriers of their own.
__device__ __forceinline__ int group_thread() {
  return fresh(threadIdx.x) % kWarpgroup;
}
__device__ __forceinline__ void sync_group() {
  const int id = 1 + fresh(threadIdx.x) / kWarpgroup;
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "n"(kWarpgroup) : "memory");
}

/// The first of a thread's two rows in a tile.
__device__ __forceinline__ int thread_row() {
  return group_thread() / kWarp * 16 + lane_id() / 4;
}

/// The row of a tile that a thread names in a first operand's matrices.
__device__ __forceinline__ int operand_row() {
  return group_thread() / kWarp * 16 + fresh(lane_id()) % 16;
}

/// A tile: its chunk, its first row there (a halo column when negative) and how many rows of the
/// chunk and its halo it has.
struct TileSpot {
  int chunk, first, rows;

  __device__ std::int64_t token(const Inputs<bf16>& in) const {
    return static_cast<std::int64_t>(chunk) * in.chunk_rows + first;
  }
};

/// How the rows of a head are cut: every chunk by itself, `halo` columns before it included.
struct TileCut {
  int halo, per_chunk, count;

  __host__ __device__ TileCut(const Inputs<bf16>& in, int halo)
      : halo(halo),
        per_chunk((halo + in.chunk_rows + kTile - 1) / kTile),
        count(per_chunk * in.chunks) {}

  /// Tiles behind the last are the last.
  __device__ TileSpot at(const Inputs<bf16>& in, int tile) const {
    tile = min(tile, count - 1);
    const int chunk = count == per_chunk ? 0 : tile / per_chunk;
    const int first = (tile - chunk * per_chunk) * kTile - halo;
    return {chunk, first, min(kTile, in.chunk_rows - first)};
  }
};

/// Blocks of each query head and of each key head. The grid has the first blocks of all heads, then
/// the second ones and so on: what moves along the rows together starts together.
struct HeadBlocks {
  int query, key;

  __host__ __device__ int of(const Inputs<bf16>& in, int head) const {
    return head < in.query_heads ? query : key;
  }
  __host__ __device__ int before(const Inputs<bf16>& in, int head) const {
    const int key_heads = max(head - in.query_heads, 0);
    return (head - key_heads) * query + key_heads * key;
  }
  __host__ __device__ int total(const Inputs<bf16>& in) const { return before(in, in.heads); }
};

/// The tiles of a block: every parts-th of one head, so that all blocks move along the rows
/// together and the heads of a group meet the same rows at about the same time.
struct BlockTiles {
  TileCut cut;
  int head, part, parts;

  __device__ BlockTiles(const Inputs<bf16>& in, int halo, const HeadBlocks& blocks)
      : cut(in, halo) {
    const int both = min(blocks.query, blocks.key), at = static_cast<int>(blockIdx.x);
    const int rest = at - both * in.heads;  // from 0 on: of the heads that have more
    const bool queries = blocks.query > blocks.key;
    const int heads = rest < 0 ? in.heads : queries ? in.query_heads : in.groups;
    head = rest < 0 ? at % heads : rest % heads + (queries ? 0 : in.query_heads);
    part = rest < 0 ? at / heads : both + rest / heads;
    parts = blocks.of(in, head);
  }
  __device__ TileSpot at(const Inputs<bf16>& in, int index) const {
    return cut.at(in, part + index * parts);
  }
  __device__ int count() const { return (cut.count - part + parts - 1) / parts; }
};

/// Works out V in pieces of 64 output columns, and the bias of u when `bias` is given. A thread has
/// eight output channels of every (kThreads / 16)-th input; `scratch` [kThreads / 16][kHead]
/// collects their shares of the bias. sm90::fence_shared_for_async() and a barrier follow.
template <int kThreads>
__device__ __forceinline__ void compose_weights(const Inputs<bf16>& in, int head, int thread,
                                                bf16* weights, float* bias, float* scratch) {
  constexpr int kInputsAtOnce = kThreads / 16,
                kRounds = (kHead + kInputsAtOnce - 1) / kInputsAtOnce;
  const int packet = thread % 16, first = thread / 16;
  const bf16* from = in.w1 + static_cast<std::int64_t>(head) * kWeights + packet * 8;
  const Tile<kPieceColumns> piece{weights + packet / 8 * kComposedRows * kPieceColumns};
  Floats<8> share = {};
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const int c = first + round * kInputsAtOnce;
    if (kHead % kInputsAtOnce != 0 && c >= kHead) break;
    const Floats<8> old_tap = Packet<bf16, 8>::load(from + c * kHead).floats();
    const Floats<8> new_tap = Packet<bf16, 8>::load(from + (kHead + c) * kHead).floats();
    const int channel = head * kHead + c;
    const float w_old = to_float(in.w0[channel]), w_new = to_float(in.w0[in.channels() + channel]);
    const float b0 = in.b0.at(channel), own = in.qk_mean && packet == c / 8 ? 0.5f : 0.0f;
    Floats<8> v[kComposedTaps];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      v[0][j] = fmaf(w_new, new_tap[j], j == c % 8 ? own : 0.0f);
      v[1][j] = fmaf(w_old, new_tap[j], w_new * old_tap[j]);
      v[2][j] = w_old * old_tap[j];
      share[j] = fmaf(b0, old_tap[j] + new_tap[j], share[j]);
    }
#pragma unroll
    for (int s = 0; s < kComposedTaps; ++s) {
      Packet<bf16, 8>::from(v[s]).store(piece.at(s * kHead + c, packet % 8));
    }
  }
  if (!bias) return;
#pragma unroll
  for (int j = 0; j < 8; ++j) scratch[first * kHead + packet * 8 + j] = share[j];
  sm90::sync_threads(1, kThreads);
  if (thread >= kHead) return;
  float sum = in.b1.at(head * kHead + thread);
  for (int g = 0; g < kInputsAtOnce; ++g) sum += scratch[g * kHead + thread];
  bias[thread] = sum;
}

/// The other heads of a group in the qk-mean: the key's for a query, the queries' for a key.
struct OtherHeads {
  int first, count;
  float share;  // of each, forward; backward a query receives share / size, a key 0.5 from each

  __device__ OtherHeads(const Inputs<bf16>& in, int head, bool forward) {
    const int size = in.group_size();
    const bool is_query = head < in.query_heads;
    first = is_query ? in.query_heads + head / size : (head - in.query_heads) * size;
    count = !in.qk_mean ? 0 : is_query ? 1 : size;
    share = is_query == forward ? 0.5f : 0.5f / static_cast<float>(size);
  }
};

}  // namespace strait::kernels::cuda::cca
