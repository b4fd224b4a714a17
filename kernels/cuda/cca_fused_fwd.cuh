#pragma once

#include "kernels/cuda/cca_fused_norm.cuh"
#include "kernels/cuda/cca_progress.cuh"
#include "kernels/cuda/cca_values.cuh"

// From z to normalised, rotated q and k and shifted v (kUndo: from z, dq, dk and dv to du, the
// gradient of the convolutions' output, and the gradients of the values). Beside the warps that
// load and store tiles, two move values.
namespace strait::kernels::cuda::cca {

/// Maps of a tensor over query heads and of one over key heads.
struct HeadMaps {
  CUtensorMap query, key;
};

struct ForwardArgs {
  CUtensorMap z;  // boxes of kBoxRows rows
  HeadMaps out;   // q and k, or du; boxes of kTile rows
  HeadMaps dout;  // dq and dk; boxes of kBoxRows rows
  float* dtemp;   // [parts][groups] partial sums
  Progress done;  // of du
  HeadBlocks blocks;
  ValueArgs values;  // in units of 16 bytes
};

struct ForwardShared {
  alignas(1024) bf16 weights[kComposedRows * kHead];
  WorkerSlots slots[kWorkers];
  UnitMatrix unit;
  sm90::Barrier loaded;  // or on its way
  alignas(16) float bias[kHead];
  PairFrequencies frequencies;
  float scratch[kWorkerThreads / 16 * kHead];
  float dtau[kWorkerThreads / kWarp];

  /// What needs nothing from memory; the whole block.
  __device__ void init(const RopeTable& table) {
    if (threadIdx.x == 0) loaded.init(1);
    for (WorkerSlots& of_worker : slots) of_worker.init();
    unit.fill(worker_thread());
    frequencies.fill(table, worker_thread());
    __syncthreads();
  }
};

/// The doc_pos of a thread's row of the first operand, as read: nobody waits for the next tile's.
__device__ __forceinline__ int load_doc_pos(const Inputs<bf16>& in, const TileSpot& at) {
  return in.doc_pos[at.token(in) + min(operand_row(), at.rows - 1)];
}

/// Rope positions of a thread's two rows of sums.
struct Positions {
  int of[2];

  __device__ Positions(const Inputs<bf16>& in, const TileSpot& at) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      of[half] = in.positions[at.token(in) + min(thread_row() + 8 * half, at.rows - 1)];
    }
  }
  __device__ float at(int half) const {
    return static_cast<float>(of[half]);
  }
};

/// Slots that a tile takes.
template <bool kUndo>
__device__ __forceinline__ unsigned tile_slots(const OtherHeads& others) {
  return 1 + others.count + (kUndo ? 1 : 0);
}

/// Loads what the tiles need, in the order of use: the other heads' rows, this one's from kReach
/// before the tile on, with kUndo those of the output's gradient. One thread.
template <bool kUndo>
__device__ __forceinline__ void load_tiles(const Inputs<bf16>& in, const ForwardArgs& args,
                                           const BlockTiles& tiles, const OtherHeads& others,
                                           WorkerSlots (&slots)[kWorkers]) {
  const unsigned per_tile = tile_slots<kUndo>(others);
  const int head = tiles.head, key = head - in.query_heads;
  for (int i = 0; i < tiles.count(); ++i) {
    const TileSpot at = tiles.at(in, i);
    WorkerSlots& to = slots[i % kWorkers];
    WorkerSlots::Ring ring{i / kWorkers * per_tile};
    for (int h = 0; h < others.count; ++h) {
      to.load(ring, args.z, at.first, others.first + h, at.chunk);
    }
    to.load(ring, args.z, at.first - kReach, head, at.chunk);
    if (kUndo && key < 0) to.load(ring, args.dout.query, at.first, head, at.chunk);
    if (kUndo && key >= 0) to.load(ring, args.dout.key, at.first, key, at.chunk);
  }
}

/// y = the head's rows before their norm: the others' part of the qk-mean, then both convolutions.
__device__ __forceinline__ void mix_rows_of(const Inputs<bf16>& in, const TileSpot& at, int head,
                                            int doc_pos, const OtherHeads& others,
                                            ForwardShared& shared, WorkerSlots& slots,
                                            WorkerSlots::Ring& ring, float (&y)[kHead / 2]) {
  ChannelSums sums = {};
  sum_others(sums, others, slots, ring, shared.unit);
#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
    const float2 b = *reinterpret_cast<const float2*>(shared.bias + 8 * s + 2 * (lane_id() % 4));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      y[4 * s + i] = fmaf(others.share, sums[s / 2][s % 2 * 4 + i], i % 2 ? b.y : b.x);
    }
  }
  Slot& z = slots.wait(ring);
  if (in.halo_rows > 0 && at.first == 0) {
    load_halo(in, at.chunk, head, z, group_thread());
    sync_group();
  }
  const int i = operand_row(), history = min(doc_pos, at.first + i + in.halo_rows);
  std::uint32_t taps[kComposedTaps];
#pragma unroll
  for (int back = 0; back < kComposedTaps; ++back) {
    taps[back] = slot_row(z, back <= history ? i + kReach - back : kZeroRow);
  }
  add_taps<Along::rows>(y, taps, shared.weights);
}

/// The block's partial sum of dtemp; each row's share is in its four lanes.
__device__ __forceinline__ void store_dtemp(const Inputs<bf16>& in, const ForwardArgs& args,
                                            int part, int key, float tau, float dtau,
                                            ForwardShared& shared) {
  const int thread = worker_thread();
  dtau = warp_reduce(lane_id() % 4 == 0 ? dtau : 0.0f);
  if (lane_id() == 0) shared.dtau[thread / kWarp] = dtau;
  sm90::sync_threads(1, kWorkerThreads);
  if (key < 0 || thread != 0) return;
  double sum = 0;
  for (float x : shared.dtau) sum += x;
  args.dtemp[part * in.groups + key] = static_cast<float>(in.exponential ? sum * tau : sum);
}

/// A worker's tiles.
template <int kPairStrips, bool kUndo>
__device__ __forceinline__ void work_on_tiles(const Inputs<bf16>& in, const ForwardArgs& args,
                                              const BlockTiles& tiles, const OtherHeads& others,
                                              ForwardShared& shared) {
  const int thread = worker_thread(), worker = thread / kWarpgroup;
  const int head = tiles.head, key = head - in.query_heads;
  const float tau = key >= 0 ? in.key_factor(key) : 1.0f;

  // Weights and the like.
  TileSpot at = tiles.at(in, worker);
  int doc_pos = load_doc_pos(in, at);
  compose_weights<kWorkerThreads>(in, head, thread, shared.weights, shared.bias, shared.scratch);
  sm90::fence_shared_for_async();
  sm90::sync_threads(1, kWorkerThreads);

  WorkerSlots& slots = shared.slots[worker];
  WorkerSlots::Ring ring;
  WorkerSlots::Turn turn;
  float dtau = 0;
  for (int index = worker; index < tiles.count(); index += kWorkers) {
    const TileSpot next = tiles.at(in, index + kWorkers);
    const int next_doc_pos = load_doc_pos(in, next);
    const Positions positions(in, at);

    // Convolutions and mean, then norm and rotation, or back through them.
    float y[kHead / 2];
    mix_rows_of(in, at, head, doc_pos, others, shared, slots, ring, y);
    if constexpr (kUndo) {
      slots.release(ring);
      Slot& dout = slots.wait(ring);
      const bool inside[2] = {thread_row() < at.rows, thread_row() + 8 < at.rows};
      float turned[kHead / 2];
      turn_back<kPairStrips>({positions.at(0), positions.at(1)}, shared.frequencies, SlotRows(dout),
                             turned);
      dtau += undo_norm(turned, tau, inside, y);
      __syncwarp();
    } else {
      turn_rows<kPairStrips>({positions.at(0), positions.at(1)}, tau, shared.frequencies, y);
      sync_group();
    }
    slots.stage(ring, turn, y);
    turn.advance();
    at = next;
    doc_pos = next_doc_pos;
  }
  if constexpr (kUndo) store_dtemp(in, args, tiles.part, key, tau, dtau, shared);
}

/// A block's share of the values, by two warps. A quarter waits until the block's last load is on
/// its way, so that memory has something to do while the last tiles are worked on.
template <bool kForward>
__device__ __forceinline__ void move_block_values(const ValueArgs& args, sm90::Barrier& loaded) {
  const std::int64_t block = blockIdx.x, blocks = gridDim.x;
  const std::int64_t begin = args.tokens * block / blocks, end = args.tokens * (block + 1) / blocks;
  const std::int64_t cut = end - (end - begin) / 4;
  move_rows<kForward>(args, begin, cut, warp_id() - 2, kWorkerWarps - 2);
  loaded.wait(0);
  move_rows<kForward>(args, cut, end, warp_id() - 2, kWorkerWarps - 2);
}

/// The other warps of a block: one loads, one stores, two move values.
template <bool kUndo>
__device__ __forceinline__ void help_with_tiles(const Inputs<bf16>& in, const ForwardArgs& args,
                                                const BlockTiles& tiles, const OtherHeads& others,
                                                ForwardShared& shared) {
  if (warp_id() == 0) {
    if (lane_id() != 0) return;
    load_tiles<kUndo>(in, args, tiles, others, shared.slots);
    shared.loaded.arrive();
  } else if (warp_id() == 1) {
    const int key = tiles.head - in.query_heads;
    store_tiles(
        key < 0 ? args.out.query : args.out.key, in, tiles, key < 0 ? tiles.head : key,
        tile_slots<kUndo>(others), shared.slots, [](const TileSpot&, Slot&) { return false; },
        [&](int count) {
          if constexpr (kUndo) args.done.tell(in, tiles, count);
        });
  } else {
    move_block_values<!kUndo>(args.values, shared.loaded);
  }
}

/// Grid: args.blocks.
template <int kPairStrips, bool kUndo>
__global__ void __launch_bounds__(kFusedThreads, 1)
    fused_forward(const __grid_constant__ Inputs<bf16> in, const __grid_constant__ ForwardArgs args,
                  const __grid_constant__ RopeTable table) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<ForwardShared*>(memory);
  shared.init(table);
  if (kUndo) {
    allow_next_launch();
  } else {
    wait_for_last_launch();
  }
  const BlockTiles tiles(in, 0, args.blocks);
  const OtherHeads others(in, tiles.head, true);
  if (threadIdx.x >= kWarpgroup) {
    work_on_tiles<kPairStrips, kUndo>(in, args, tiles, others, shared);
  } else {
    help_with_tiles<kUndo>(in, args, tiles, others, shared);
  }
#endif
}

}  // namespace strait::kernels::cuda::cca
