#pragma once

#include "kernels/cuda/sm90/grouped_tile.cuh"

// What brings the operands of grouped products to shared memory.
namespace strait::kernels::cuda::sm90 {

/// Waits for the next tile, a thread's own place in the ring of tiles; releases it at once.
template <class Tile>
__device__ __forceinline__ GroupedWork next_work(GroupedShared<Tile>& shared, Ring<2>& at) {
  shared.work_ready.wait_full(at);
  const GroupedWork work = shared.work[at.stage()];
  shared.work_ready.release_by_warp(at);
  at.advance();
  return work;
}

/// Whether the last step of a gradient's tile ends with rows of other experts.
template <class Tile>
__device__ __forceinline__ bool ends_partial(const GroupedWork& work) {
  return Tile::kGradient && (work.depth_end - work.depth) % Tile::kDepth != 0;
}

/// The warp that loads; its first lane does.
template <class Tile>
class GroupedLoader {
 public:
  __device__ GroupedLoader(const GroupedParams& params, GroupedShared<Tile>& shared)
      : params_(params), shared_(shared), own_depth_(own_depth<Tile>(params)) {}

  __device__ __forceinline__ void run() {
    Ring<2> at_work;
    for (;;) {
      const GroupedWork work = next_work(shared_, at_work);
      if (work.expert < 0) return;
      if (threadIdx.x % kWarpLanes == 0) load(work);
      __syncwarp();
    }
  }

 private:
  static constexpr int kClaimAhead = 4;  // steps that a claim takes

  __device__ __forceinline__ void load(const GroupedWork& work) {
    const int steps = work.steps();
    if (steps == 0) shared_.claim.arrive();
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      if (step == max(0, steps - kClaimAhead)) shared_.claim.arrive();
      shared_.ready.wait_empty(at_);
      Barrier* landed = &shared_.ready.full[at_.stage()];
      if (step == steps - 1 && ends_partial<Tile>(work)) {
        landed = &shared_.partial.full[at_partial_.stage()];
        at_partial_.advance();
      }
      load(work, work.depth + step * Tile::kDepth, *landed);
      at_.advance();
    }
  }

  __device__ __forceinline__ void load(const GroupedWork& work, int depth, Barrier& landed) {
    // Behind an expert's own depth comes that of the term of all experts.
    const bool more = !Tile::kGradient && depth >= own_depth_;
    if (more) depth -= own_depth_;
    const CUtensorMap& from_a = more ? params_.more_a : params_.a;
    const CUtensorMap& from_b = more ? params_.more_b : params_.b;
    const int matrix = Tile::kGradient || more ? 0 : work.expert;
    const int row_boxes = work.row_boxes(), column_boxes = work.column_boxes();
    landed.arrive_expecting((row_boxes + column_boxes) * Tile::kBoxBytes);
    for (int i = 0; i < row_boxes; ++i) {
      const int row = work.row + i * Tile::kBox;
      load_box(from_a, landed, shared_.a[at_.stage()] + i * Tile::kBox * Tile::kBox,
               Tile::kGradient ? row : depth, Tile::kGradient ? depth : row, 0);
    }
    for (int i = 0; i < column_boxes; ++i) {
      const int column = work.column + i * Tile::kBox;
      const bool along_depth = Tile::kB == Along::depth;
      load_box(from_b, landed, shared_.b[at_.stage()] + i * Tile::kBox * Tile::kBox,
               along_depth ? depth : column, along_depth ? column : depth, matrix);
    }
  }

  const GroupedParams& params_;
  GroupedShared<Tile>& shared_;
  int own_depth_;
  Ring<Tile::kStages> at_, at_partial_;
};

/// The warp that clears the rows of other experts in a gradient's last step: of both operands, for
/// what lies behind the last expert may be no numbers.
template <class Tile>
class GroupedCleaner {
 public:
  __device__ explicit GroupedCleaner(GroupedShared<Tile>& shared) : shared_(shared) {}

  __device__ __forceinline__ void run() {
    Ring<2> at_work;
    Ring<Tile::kStages> at, at_partial;
    for (;;) {
      const GroupedWork work = next_work(shared_, at_work);
      if (work.expert < 0) return;
      at.count += work.steps();
      if (!ends_partial<Tile>(work)) continue;
      Ring<Tile::kStages> last = at;
      --last.count;
      shared_.partial.wait_full(at_partial);
      at_partial.advance();
      const int rows = (work.depth_end - work.depth) % Tile::kDepth;
      clear(shared_.a[last.stage()], rows, work.row_boxes());
      clear(shared_.b[last.stage()], rows, work.column_boxes());
      fence_shared_for_async();
      __syncwarp();
      if (threadIdx.x % kWarpLanes == 0) shared_.ready.full[last.stage()].arrive();
    }
  }

 private:
  static __device__ __forceinline__ void clear(__nv_bfloat16* boxes, int first_row, int count) {
    constexpr int kRowPackets = kPieceRowBytes / 16;
    constexpr int kBoxPackets = Tile::kBoxBytes / 16;
    auto* packets = reinterpret_cast<uint4*>(boxes);
    for (int box = 0; box < count; ++box) {
      for (int i = first_row * kRowPackets + static_cast<int>(threadIdx.x) % kWarpLanes;
           i < kBoxPackets; i += kWarpLanes) {
        packets[box * kBoxPackets + i] = uint4{0, 0, 0, 0};
      }
    }
  }

  GroupedShared<Tile>& shared_;
};

}  // namespace strait::kernels::cuda::sm90
