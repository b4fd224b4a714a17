#pragma once

#include "kernels/cuda/cca_slots.cuh"

// How the kernels of the fused backward run side by side. The one that works out du tells how far
// its workers are; the others, launched as soon as all its blocks run, follow it through L2.
namespace strait::kernels::cuda::cca {

using sm90::allow_next_launch, sm90::wait_for_last_launch;

/// How many of its tiles each block has done, in order; zeros at the beginning.
struct Progress {
  int* done;  // of each head's blocks, heads one after the other
  HeadBlocks blocks;

  /// One thread: the first `count` tiles of this block are in memory.
  __device__ void tell(const Inputs<bf16>& in, const BlockTiles& tiles, int count) const {
    int* to = done + blocks.before(in, tiles.head) + tiles.part;
    sm90::fence_global_for_async();
    asm volatile("st.release.gpu.global.s32 [%0], %1;\n" ::"l"(to), "r"(count) : "memory");
  }

  /// A block, once nobody looks any more.
  __device__ void clear(const Inputs<bf16>& in, int head) const {
    int* of_head = done + blocks.before(in, head);
    for (int i = threadIdx.x; i < blocks.of(in, head); i += blockDim.x) of_head[i] = 0;
  }
};

/// What a warp knows of the progress of a head and the others of its group.
struct Frontier {
  const Progress& progress;
  int head, others, count;  // this head, the first other one and how many
  int tiles = 0;            // all tiles of these heads before this one are done

  /// Waits until the rows before row `end` of a chunk are done; what TMA loads then sees them. The
  /// whole warp.
  __device__ void wait(const Inputs<bf16>& in, int chunk, int end) {
    const TileCut cut(in, 0);
    const int last = chunk * cut.per_chunk + (min(end, in.chunk_rows) - 1) / kTile;
    if (tiles > last) return;
    while (tiles <= last) {
      const int own = first_undone(in, head, 1, cut.count);
      tiles = __reduce_min_sync(sm90::kFullWarp, first_undone(in, others, count, own));
    }
    __threadfence();
    sm90::fence_global_for_async();
  }

 private:
  /// The first tile, or `first`, that is not done in `heads` heads of one kind: a lane's share.
  __device__ int first_undone(const Inputs<bf16>& in, int head, int heads, int first) const {
    if (heads == 0) return first;
    const int parts = progress.blocks.of(in, head);
    const int* from = progress.done + progress.blocks.before(in, head);
    for (int i = lane_id(); i < heads * parts; i += kWarp) {
      int done;
      asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];\n" : "=r"(done) : "l"(from + i) : "memory");
      first = min(first, done * parts + i % parts);
    }
    return first;
  }
};

}  // namespace strait::kernels::cuda::cca
