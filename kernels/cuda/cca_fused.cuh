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

/// A tile: its chunk, its first row there (a halo column when negative) and how many rows of the
/// chunk and its halo it has. Tiles behind the last are the last chunk's first.
struct TileSpot {
  int chunk, first, rows;

  __device__ TileSpot(const Inputs<bf16>& in, int tile, int per_chunk, int halo)
      : chunk(tile / per_chunk), first(tile % per_chunk * kTile - halo) {
    clip(in, halo);
  }

  __device__ TileSpot after(const Inputs<bf16>& in, int tiles, int per_chunk, int halo) const {
    TileSpot next = *this;
    next.first += tiles * kTile;
    while (next.first + halo >= per_chunk * kTile) {
      next.first -= per_chunk * kTile;
      ++next.chunk;
    }
    next.clip(in, halo);
    return next;
  }

  __device__ std::int64_t token(const Inputs<bf16>& in) const {
    return static_cast<std::int64_t>(chunk) * in.chunk_rows + first;
  }
  /// Whether row i of the tile is a row of the chunk.
  __device__ bool inside(const Inputs<bf16>& in, int i) const {
    return first + i >= 0 && first + i < in.chunk_rows;
  }

 private:
  __device__ void clip(const Inputs<bf16>& in, int halo) {
    if (chunk >= in.chunks) chunk = in.chunks - 1, first = -halo;
    rows = min(kTile, in.chunk_rows - first);
  }
};

/// Tiles [begin, end) of `count` that the index-th of `parts` blocks walks.
struct TileRange {
  int begin, end;

  __device__ TileRange(int count, int index, int parts)
      : begin(static_cast<int>(static_cast<std::int64_t>(count) * index / parts)),
        end(static_cast<int>(static_cast<std::int64_t>(count) * (index + 1) / parts)) {}
};

/// What is known of the rows of a tile and of those it reaches: how many rows each has before it in
/// its document and at hand (-1 for absent rows), and its rope position.
struct TileFacts {
  int history_of[kTile + kReach + 1];
  float position_of[kTile];

  __device__ int history(int i) const { return history_of[i + 1]; }
  /// Whether row i takes something from `back` rows before it.
  __device__ bool reaches(int i, int back) const { return back <= history_of[i + 1]; }
};

/// What the facts of one row, thread's - 1, are made of: read at the beginning of a tile, stored at
/// its end, so that nobody waits for them.
struct RowFacts {
  int doc_pos = 0, position = 0;

  __device__ RowFacts(const Inputs<bf16>& in, const TileSpot& at) {
    const int thread = group_thread(), row = at.first + thread - 1;
    if (thread > kTile + kReach || row >= in.chunk_rows) return;
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + max(row, 0);
    doc_pos = in.doc_pos[token];
    position = in.positions[token];
  }

  __device__ void store(const Inputs<bf16>& in, const TileSpot& at, TileFacts& to) const {
    const int thread = group_thread(), row = at.first + thread - 1;
    const int history = min(doc_pos + min(row, 0), row + in.halo_rows);
    if (thread <= kTile + kReach) to.history_of[thread] = row < in.chunk_rows ? history : -1;
    if (thread >= 1 && thread <= kTile) to.position_of[thread - 1] = static_cast<float>(position);
  }
};

/// Rows of z's shape from the first row of a tile on, which may be a halo column. Offsets inside a
/// tile fit 32 bits.
template <class T>
struct TileRows {
  T *rows, *halo;  // row 0 of the tile; of the halo, as if it went on
  int stride, halo_stride, first;

  __device__ TileRows(const MixRows<T>& from, const TileSpot& at)
      : rows(from.rows +
             (static_cast<std::int64_t>(at.chunk) * from.chunk_rows + at.first) * from.stride),
        halo(from.halo + at.chunk * from.halo_chunk + (from.halo_rows + at.first) * from.halo_row),
        stride(static_cast<int>(from.stride)),
        halo_stride(static_cast<int>(from.halo_row)),
        first(at.first) {}

  __device__ T* at(int i) const {
    return first + i >= 0 ? rows + i * stride : halo + i * halo_stride;
  }
};

/// Three warpgroups a block: with four, registers spill to local memory.
inline constexpr int kGroups = 3, kFusedThreads = kGroups * kWarpgroup;

/// Starts copying kCount rows of a head to shared memory, the first from `rows`. Those outside
/// [begin, end) become zeros, or stay as they are without kZeros.
template <int kCount, bool kZeros = true>
__device__ __forceinline__ void stage_rows(Tile<kHead> to, const bf16* rows, int stride, int begin,
                                           int end) {
  constexpr int kAtOnce = kWarpgroup / 16;
  const int thread = group_thread(), packet = thread % 16, first = thread / 16;
  const bf16* const safe = rows + begin * stride;
  const bf16* from = rows + (first * stride + packet * 8);
  bf16* place = to.at(first, packet);  // the same permutation every eight rows
#pragma unroll
  for (int step = 0; step < (kCount + kAtOnce - 1) / kAtOnce; ++step) {
    const int i = first + step * kAtOnce;
    if (step * kAtOnce + kAtOnce > kCount && i >= kCount) break;
    const bool valid = i >= begin && i < end;
    if (kZeros || valid) {
      cp_async_16(place + step * kAtOnce * kHead, valid ? from : safe, valid);
    }
    from += kAtOnce * stride;
  }
}

/// One warpgroup of a block multiplies at a time, while the others load, finish and store: left
/// alone they would all share the tensor cores first and then leave them idle together.
struct Turnstile {
  int taken;

  /// One thread of a warpgroup; the others meet it at a barrier afterwards.
  __device__ void enter() {
    while (atomicCAS(&taken, 0, 1) != 0) __nanosleep(32);
  }
  __device__ void leave() { atomicExch(&taken, 0); }
};

/// Starts moving `count` rows of a head into L2.
__device__ __forceinline__ void prefetch_lines(const bf16* rows, int stride, int count) {
  if (group_thread() >= count) return;
  const bf16* line = rows + group_thread() * stride;
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(line));
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(line + 64));
}

/// The same for a tile's rows of z.
__device__ __forceinline__ void prefetch_rows(const Inputs<bf16>& in, const TileSpot& at,
                                              int head) {
  const TileRows<const bf16> from(in.z, at);
  prefetch_lines(from.rows + head * kHead, from.stride, at.rows);
}

/// Where this lane reads its row of a first operand in shared memory. The k-th 16 columns are at
/// the address ^ 32 k. Rows are aligned to their size and permuted as Tile's.
__device__ __forceinline__ std::uint32_t operand_row(const bf16* rows, int row, int lane) {
  const auto base = static_cast<std::uint32_t>(__cvta_generic_to_shared(rows));
  return base + row * 2 * kHead + ((lane / 16 ^ (row & 7)) << 4);
}

/// Works out V in pieces of 64 output columns, and the bias of u when `bias` is given. A thread has
/// eight output channels of every (kThreads / 16)-th input; `scratch` [kThreads / 16][kHead]
/// collects their shares of the bias. sm90::fence_shared_for_async() and a barrier follow.
template <int kThreads>
__device__ __forceinline__ void compose_weights(const Inputs<bf16>& in, int head, bf16* weights,
                                                float* bias, float* scratch) {
  constexpr int kInputsAtOnce = kThreads / 16;
  const int packet = static_cast<int>(threadIdx.x) % 16, first = static_cast<int>(threadIdx.x) / 16;
  const bf16* from = in.w1 + static_cast<std::int64_t>(head) * kWeights + packet * 8;
  const Tile<kPieceColumns> piece{weights + packet / 8 * kComposedRows * kPieceColumns};
  Floats<8> share = {};
#pragma unroll 4
  for (int c = first; c < kHead; c += kInputsAtOnce) {
    const Floats<8> old_tap = Packet<bf16, 8>::load(from + c * kHead).floats();
    const Floats<8> new_tap = Packet<bf16, 8>::load(from + (kHead + c) * kHead).floats();
    const int channel = head * kHead + c;
    const float w_old = to_float(in.w0[channel]), w_new = to_float(in.w0[in.channels() + channel]);
    const float b0 = in.b0.at(channel), own = in.qk_mean ? 0.5f : 0.0f;
    Floats<8> v[kComposedTaps];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      v[0][j] = fmaf(w_new, new_tap[j], packet * 8 + j == c ? own : 0.0f);
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
  __syncthreads();
  const int o = static_cast<int>(threadIdx.x);
  if (o >= kHead) return;
  float sum = in.b1.at(head * kHead + o);
  for (int g = 0; g < kInputsAtOnce; ++g) sum += scratch[g * kHead + o];
  bias[o] = sum;
}

/// sums = over the taps, 16 rows a warp times V, whose depth runs along its rows, or times its
/// transpose. taps[s]: operand_row() for tap s.
template <Along kAlong>
__device__ __forceinline__ void multiply_taps(float (&sums)[kHead / 2],
                                              const std::uint32_t (&taps)[kComposedTaps],
                                              const bf16* weights) {
  constexpr int kSteps = kHead / 16, kTapRows = kHead * sm90::kPieceRowBytes / 16;
  const std::uint64_t b = uniform_operand<kComposedRows>(weights);
  multiply_steps<kComposedTaps * kSteps, kAlong>(
      sums, false,
      [&](int step, std::uint32_t(&a)[4]) {
        load_matrices_at(a, taps[step / kSteps] ^ step % kSteps << 5);
      },
      [&](int step) {
        return b + (step / kSteps * kTapRows +
                    sm90::depth_offset<kAlong, kComposedRows>(step % kSteps));
      });
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

__device__ __forceinline__ void add_other(float share, Tile<kHead> staged, float (&y)[kHead / 2]) {
  const int row = thread_row(), c = 2 * (lane_id() % 4);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int s = 0; s < kStrips; ++s) {
      const auto x = Packet<bf16, 2>::load(staged.at(row + 8 * half, s) + c);
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& to = y[4 * s + 2 * half + e];
        to = fmaf(share, x.get(e), to);
      }
    }
  }
}

/// Adds the other heads' part of the qk-mean. The first head's rows are in `first`; stage(h, tile)
/// starts copying those of the others, by turns to `second` and `first`, while one is added.
template <class Stage>
__device__ __forceinline__ void add_others(const OtherHeads& others, Tile<kHead> first,
                                           Tile<kHead> second, float (&y)[kHead / 2],
                                           Stage&& stage) {
#pragma unroll 1
  for (int h = 0; h < others.count; ++h) {
    const bool even = h % 2 == 0;
    if (h > 0) {
      cp_async_wait<0>();
      sync_group();
    }
    if (h + 1 < others.count) {
      stage(others.first + h + 1, even ? second : first);
      cp_async_commit();
    }
    add_other(others.share, even ? first : second, y);
  }
}

/// Puts the warp's 16 rows of sums as bf16 into its rows of the tile.
__device__ __forceinline__ void put_rows(Tile<kHead> tile, const float (&y)[kHead / 2]) {
  const int lane = fresh(lane_id());
  const std::uint32_t to = operand_row(tile.data, group_thread() / kWarp * 16 + lane % 16, lane);
#pragma unroll
  for (int s = 0; s < kStrips; s += 2) {
    std::uint32_t packed[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) packed[i] = pack_bf16(y[4 * s + 2 * i], y[4 * s + 2 * i + 1]);
    store_matrices_at(to ^ s << 4, packed);
  }
  __syncwarp();
}

/// Stores the warp's 16 rows of the tile; to(i) is row i's address of the head, null for rows that
/// do not exist.
template <class To>
__device__ __forceinline__ void store_rows(Tile<kHead> tile, To&& to) {
  const int lane = fresh(lane_id()), packet = lane % 16;
#pragma unroll
  for (int step = 0; step < 8; ++step) {
    const int i = group_thread() / kWarp * 16 + 2 * step + lane / 16;
    const auto x = Packet<bf16, 8>::load(tile.at(i, packet));
    bf16* row = to(i);
    if (row) x.store(row + packet * 8);
  }
}

}  // namespace strait::kernels::cuda::cca
