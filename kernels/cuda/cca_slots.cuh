#pragma once

#include "kernels/cuda/cca_fused.cuh"
#include "kernels/cuda/sm90/staging.cuh"

// Tiles on their way through a block of the fused CCA kernels. One warp loads rows by TMA into
// rings of slots; two workers (warpgroups) take tiles in turns, hand slots back as they read them
// and leave a tile's output in its last one; another warp stores it and hands that slot back.
namespace strait::kernels::cuda::cca {

inline constexpr int kBoxRows = kTile + kReach;  // of every load
inline constexpr int kZeroRow = kBoxRows;        // a row of every slot that stays zero

/// Rows of one head in two pieces of 64 channels, as TMA permutes them.
struct Slot {
  static constexpr int kRows = (kBoxRows + 8) / 8 * 8;  // pieces begin at multiples of 1024 bytes
  static constexpr int kBytes = 2 * kBoxRows * sm90::kPieceRowBytes;  // that a load moves
  alignas(1024) bf16 piece[2][kRows * kPieceColumns];

  __device__ bf16* at(int row, int chunk) {
    return piece[chunk / 8] + row * kPieceColumns + ((chunk % 8 ^ row % 8) << 3);
  }
};

/// kCount slots and their barriers. A load arrives at "full", kReaders warps at "empty".
template <int kCount, int kReaders>
struct Slots {
  using Ring = sm90::Ring<kCount>;
  Slot slot[kCount];
  sm90::RingBarriers<kCount> ready;

  /// The whole block; a barrier of the block follows.
  __device__ void init() {
    const int thread = static_cast<int>(threadIdx.x);
    if (thread < kCount * 16) {
      *reinterpret_cast<uint4*>(slot[thread / 16].at(kZeroRow, thread % 16)) = uint4{};
    }
    if (thread == 0) {
      ready.init(1, kReaders);
      sm90::fence_barrier_init();
    }
  }

  /// Starts loading a head's rows from `row` of a chunk on into the next free slot. One thread.
  __device__ void load(Ring& at, const CUtensorMap& map, int row, int head, int chunk) {
    ready.wait_empty(at);
    sm90::Barrier& full = ready.full[at.stage()];
    full.arrive_expecting(Slot::kBytes);
    Slot& to = slot[at.stage()];
    for (int piece = 0; piece < 2; ++piece) {
      sm90::load_box(map, full, to.piece[piece], piece * kPieceColumns, row, head, chunk);
    }
    at.advance();
  }

  __device__ Slot& wait(const Ring& at) {
    ready.wait_full(at);
    return slot[at.stage()];
  }
  __device__ void release(Ring& at) {
    ready.release_by_warp(at);
    at.advance();
  }
};

/// Where this lane reads its row of a first operand in a slot; the step-th 16 channels are at
/// slot_step(row, step).
__device__ __forceinline__ std::uint32_t slot_row(const Slot& slot, int row) {
  const int lane = fresh(lane_id());
  return sm90::shared_address(slot.piece[0]) + row * sm90::kPieceRowBytes +
         ((lane / 16 ^ row % 8) << 4);
}
__device__ __forceinline__ std::uint32_t slot_step(std::uint32_t row, int step) {
  return (row ^ step % 4 << 5) + step / 4 * Slot::kRows * sm90::kPieceRowBytes;
}

/// sums += over the taps, 16 rows a warp times V, whose depth runs along its rows, or times its
/// transpose. taps[s]: slot_row() for tap s.
template <Along kAlong>
__device__ __forceinline__ void add_taps(float (&sums)[kHead / 2],
                                         const std::uint32_t (&taps)[kComposedTaps],
                                         const bf16* weights) {
  constexpr int kSteps = kHead / 16, kTapRows = kHead * sm90::kPieceRowBytes / 16;
  const std::uint64_t b = uniform_operand<kComposedRows>(weights);
  multiply_steps<kComposedTaps * kSteps, kAlong>(
      sums, true,
      [&](int step, std::uint32_t(&a)[4]) {
        load_matrices_at(a, slot_step(taps[step / kSteps], step % kSteps));
      },
      [&](int step) {
        return b + (step / kSteps * kTapRows +
                    sm90::depth_offset<kAlong, kComposedRows>(step % kSteps));
      });
}

/// The unit matrix for 16 channels: what the tensor cores multiply other heads' rows with to sum
/// them up.
struct UnitMatrix {
  alignas(1024) bf16 rows[16 * kPieceColumns];

  /// Threads 0 .. 31 of some; sm90::fence_shared_for_async() and a barrier follow.
  __device__ void fill(int thread) {
    const int row = thread % 16, chunk = thread / 16;
    if (thread < 0 || thread >= 32) return;
    Floats<8> x;
#pragma unroll
    for (int j = 0; j < 8; ++j) x[j] = chunk * 8 + j == row ? 1.0f : 0.0f;
    Packet<bf16, 8>::from(x).store(rows + row * kPieceColumns + ((chunk ^ row % 8) << 3));
  }
};

/// Sums of 16 channels at a time: products of other shapes have their sums in other registers.
using ChannelSums = float[kHead / 16][8];

/// Adds the slot's first kTile rows, or assigns them without `add`.
__device__ __forceinline__ void add_rows(ChannelSums& sums, bool add, const Slot& slot,
                                         const UnitMatrix& unit) {
  const std::uint64_t a = uniform_operand<Slot::kRows>(slot.piece[0]);
  const std::uint64_t b = uniform_operand<16>(unit.rows);
  sm90::begin_products();
#pragma unroll
  for (int step = 0; step < kHead / 16; ++step) {
    sm90::Product<16>::shared<Along::depth, Along::depth>(
        sums[step], a + sm90::depth_offset<Along::depth, Slot::kRows>(step), b, add);
  }
  sm90::commit_products();
  sm90::wait_products<0>();
}

inline constexpr int kWorkers = 2, kWorkerThreads = kWorkers * kWarpgroup;
inline constexpr int kWorkerWarps = kWarpgroup / kWarp;
inline constexpr int kFusedThreads = kWarpgroup + kWorkerThreads;  // helpers first

/// Place among the threads of the workers.
__device__ __forceinline__ int worker_thread() {
  return static_cast<int>(threadIdx.x) - kWarpgroup;
}

/// The ring of a worker.
struct WorkerSlots : Slots<3, kWorkerWarps> {
  using Turn = sm90::Ring<1>;    // the worker's tiles, one after another
  sm90::RingBarriers<1> staged;  // a tile's output; empty once the storing warp knows of it

  __device__ void init() {
    if (threadIdx.x == 0) staged.init(kWorkerWarps, 1);
    Slots::init();
  }

  /// Rounds the tile's rows into its last slot, whose rows of this warp nobody reads any more.
  __device__ void stage(Ring& last, const Turn& turn, const float (&y)[kHead / 2]) {
    sm90::stage_rows<Slot::kRows>(slot[last.stage()].piece[0], y);
    sm90::fence_shared_for_async();
    __syncwarp();
    staged.wait_empty(turn);
    if (lane_id() == 0) staged.full[0].arrive();
    last.advance();
  }
};

/// Stores the tiles' outputs; one warp. store(at, slot) may do so itself and return true, done(i)
/// is called in one thread when the first i tiles are in memory. `head` is that of the map.
template <class Store, class Done>
__device__ __forceinline__ void store_tiles(const CUtensorMap& to, const Inputs<bf16>& in,
                                            const BlockTiles& tiles, int head, unsigned per_tile,
                                            WorkerSlots (&slots)[kWorkers], Store&& store,
                                            Done&& done) {
  constexpr int kUnderWay = 3;  // tiles; a store takes about as long as two
  const int count = tiles.count();
  for (int i = 0; i < count; ++i) {
    WorkerSlots& from = slots[i % kWorkers];
    const WorkerSlots::Turn turn{static_cast<unsigned>(i / kWorkers)};
    const WorkerSlots::Ring last{(turn.count + 1) * per_tile - 1};
    Slot& staged = from.slot[last.stage()];
    from.staged.wait_full(turn);
    from.staged.release_by_warp(turn);
    const TileSpot at = tiles.at(in, i);
    const bool stored = store(at, staged);
    __syncwarp();
    if (lane_id() != 0) continue;
    for (int piece = 0; piece < 2 && !stored; ++piece) {
      sm90::store_box(to, staged.piece[piece], piece * kPieceColumns, at.first, head, at.chunk);
    }
    sm90::commit_stores();
    sm90::wait_stores_read();
    from.ready.empty[last.stage()].arrive(kWorkerWarps);
    sm90::wait_stores<kUnderWay>();
    if (i + 1 > kUnderWay) done(i + 1 - kUnderWay);
  }
  if (lane_id() != 0) return;
  sm90::wait_stores();
  done(count);
}

/// Puts the halo's rows before a chunk, 16 bytes a thread, in their place in the slot.
__device__ __forceinline__ void load_halo(const Inputs<bf16>& in, int chunk, int head, Slot& slot,
                                          int thread) {
  const int row = thread / 16, packet = thread % 16;
  if (row >= kReach) return;
  const bf16* from = in.z.at(chunk, row - kReach) + head * kHead + packet * 8;
  *reinterpret_cast<uint4*>(slot.at(row, packet)) = *reinterpret_cast<const uint4*>(from);
  sm90::fence_shared_for_async();
}

/// sums = the rows of the other heads of the group.
__device__ __forceinline__ void sum_others(ChannelSums& sums, const OtherHeads& others,
                                           WorkerSlots& slots, WorkerSlots::Ring& ring,
                                           const UnitMatrix& unit) {
#pragma unroll 1
  for (int h = 0; h < others.count; ++h) {
    add_rows(sums, h > 0, slots.wait(ring), unit);
    slots.release(ring);
  }
}

}  // namespace strait::kernels::cuda::cca
