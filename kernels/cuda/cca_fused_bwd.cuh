#pragma once

#include "kernels/cuda/cca_progress.cuh"

// From du to dz: back through the convolutions and the qk-mean. A row collects what later rows owe
// it, so that every output has one owner:
//   dz_t = sum over s of du_{t+s} V_s^T, where row t + s reaches back to t, + the other heads'
//   part.
namespace strait::kernels::cuda::cca {

struct BackwardArgs {
  CUtensorMap du;  // boxes of kBoxRows rows
  CUtensorMap dz;  // boxes of kTile rows
  MixRows<bf16> dz_rows;
  Progress done;
  HeadBlocks blocks;
};

struct BackwardShared {
  alignas(1024) bf16 weights[kComposedRows * kHead];
  WorkerSlots slots[kWorkers];
  UnitMatrix unit;
};

/// Loads what the tiles need, in the order of use: the other heads' rows of du, then this one's.
/// One warp.
__device__ __forceinline__ void load_grads(const Inputs<bf16>& in, const BackwardArgs& args,
                                           const BlockTiles& tiles, const OtherHeads& others,
                                           WorkerSlots (&slots)[kWorkers]) {
  const unsigned per_tile = 1 + others.count;
  Frontier frontier{args.done, tiles.head, others.first, others.count};
  for (int i = 0; i < tiles.count(); ++i) {
    const TileSpot at = tiles.at(in, i);
    WorkerSlots& to = slots[i % kWorkers];
    WorkerSlots::Ring ring{i / kWorkers * per_tile};
    frontier.wait(in, at.chunk, at.first + kBoxRows);
    if (lane_id() == 0) {
      for (int h = 0; h < others.count; ++h) {
        to.load(ring, args.du, at.first, others.first + h, at.chunk);
      }
      to.load(ring, args.du, at.first, tiles.head, at.chunk);
    }
    __syncwarp();
  }
}

/// How far back the rows of a thread's first operand and the kReach after them reach, all of them
/// as far as that row or not.
struct GradFacts {
  int doc_pos[kComposedTaps];

  __device__ GradFacts(const Inputs<bf16>& in, const TileSpot& at) {
    const int i = operand_row();
    const std::int64_t chunk = static_cast<std::int64_t>(at.chunk) * in.chunk_rows;
#pragma unroll
    for (int s = 0; s < kComposedTaps; ++s) {
      const int row = min(max(at.first + i + s, 0), in.chunk_rows - 1);
      doc_pos[s] = in.doc_pos[chunk + row];
    }
  }
  __device__ bool reaches(int s) const {
    return doc_pos[s] >= s;
  }
};

/// Stores a tile that begins with halo columns, which TMA cannot: it has no negative rows.
__device__ __forceinline__ bool store_halo(const BackwardArgs& args, const TileSpot& at, int head,
                                           Slot& staged) {
  if (at.first >= 0) return false;
  for (int row = lane_id() / 16; row < at.rows; row += kWarp / 16) {
    const int packet = lane_id() % 16;
    bf16* to = args.dz_rows.at(at.chunk, at.first + row) + head * kHead + packet * 8;
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(staged.at(row, packet));
  }
  return true;
}

/// A worker's tiles.
__device__ __forceinline__ void work_back(const Inputs<bf16>& in, const BackwardArgs& args,
                                          const BlockTiles& tiles, const OtherHeads& others,
                                          BackwardShared& shared) {
  const int thread = worker_thread(), worker = thread / kWarpgroup;
  WorkerSlots& slots = shared.slots[worker];
  WorkerSlots::Ring ring;
  WorkerSlots::Turn turn;

  // Weights.
  GradFacts facts(in, tiles.at(in, worker));
  compose_weights<kWorkerThreads>(in, tiles.head, thread, shared.weights, nullptr, nullptr);
  shared.unit.fill(thread);
  sm90::fence_shared_for_async();
  sm90::sync_threads(1, kWorkerThreads);

  for (int index = worker; index < tiles.count(); index += kWorkers) {
    const TileSpot at = tiles.at(in, index);
    const GradFacts next_facts(in, tiles.at(in, index + kWorkers));

    // Mean, then both convolutions.
    ChannelSums sums = {};
    float dz[kHead / 2];
    sum_others(sums, others, slots, ring, shared.unit);
#pragma unroll
    for (int i = 0; i < kHead / 2; ++i) dz[i] = others.share * sums[i / 8][i % 8];
    const Slot& du = slots.wait(ring);
    const int i = operand_row();
    std::uint32_t taps[kComposedTaps];
#pragma unroll
    for (int s = 0; s < kComposedTaps; ++s) {
      taps[s] = slot_row(du, facts.reaches(s) ? i + s : kZeroRow);
    }
    add_taps<Along::depth>(dz, taps, shared.weights);
    sync_group();
    slots.stage(ring, turn, dz);
    turn.advance();
    facts = next_facts;
  }
}

/// Grid: args.blocks.
__global__ void __launch_bounds__(kFusedThreads, 1)
    fused_backward(const __grid_constant__ Inputs<bf16> in,
                   const __grid_constant__ BackwardArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<BackwardShared*>(memory);
  allow_next_launch();
  const BlockTiles tiles(in, in.halo_rows, args.blocks);
  const OtherHeads others(in, tiles.head, false);
  for (WorkerSlots& of_worker : shared.slots) of_worker.init();
  __syncthreads();
  if (threadIdx.x >= kWarpgroup) {
    work_back(in, args, tiles, others, shared);
  } else {
    if (warp_id() == 0) load_grads(in, args, tiles, others, shared.slots);
    if (warp_id() == 1) {
      store_tiles(
          args.dz, in, tiles, tiles.head, 1 + others.count, shared.slots,
          [&](const TileSpot& at, Slot& staged) {
            return store_halo(args, at, tiles.head, staged);
          },
          [](int) {});
    }
  }
  wait_for_last_launch();
#endif
}

}  // namespace strait::kernels::cuda::cca
