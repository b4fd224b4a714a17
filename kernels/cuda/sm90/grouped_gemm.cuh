#pragma once

#include "kernels/cuda/sm90/grouped_loader.cuh"
#include "kernels/cuda/sm90/grouped_schedule.cuh"
#include "kernels/cuda/sm90/grouped_sums.cuh"
#include "kernels/cuda/sm90/turns.cuh"

// Grouped products on Hopper: a persistent block takes tiles of 128 rows and 256 columns of c; one
// warp claims them, one loads, two warpgroups own 64 rows each. They wait for operands apart, so
// that one multiplies while the other writes.
namespace strait::kernels::cuda::sm90 {

template <class Tile>
class GroupedConsumer {
 public:
  __device__ GroupedConsumer(const GroupedParams& params, GroupedShared<Tile>& shared, int group)
      : params_(params),
        shared_(shared),
        group_(group),
        plain_(!params.to && !params.scale && !params.add) {}

  __device__ __forceinline__ void run() {
    Ring<2> at_work;
    for (;;) {
      const GroupedWork work = next_work(shared_, at_work);
      if (work.expert < 0) return;
      if (group_ >= work.row_boxes()) {
        skip(work);
        continue;
      }
      // Only as many columns as there are: the last tile of a row may be narrow.
      switch (work.column_boxes()) {
        case 1:
          make<64>(work);
          break;
        case 2:
          make<128>(work);
          break;
        case 3:
          make<192>(work);
          break;
        default:
          make<256>(work);
          break;
      }
    }
  }

 private:
  /// A tile without rows for this warpgroup.
  __device__ __forceinline__ void skip(const GroupedWork& work) {
#pragma unroll 1
    for (int step = 0; step < work.steps(); ++step) {
      shared_.ready.wait_full(at_);
      shared_.ready.release_by_warp(at_);
      at_.advance();
    }
  }

  template <int kColumns>
  __device__ __forceinline__ void make(const GroupedWork& work) {
    float d[kColumns / 2];
    if (work.steps() == 0) {
#pragma unroll
      for (float& x : d) x = 0;
    }
    multiply_steps<kColumns>(work.steps(), d);
    const int warp = static_cast<int>(threadIdx.x) % kWarpgroup / kWarpLanes;
    const int row = group_ * Tile::kBox + 16 * warp;
    const int first = work.row + row;
    const std::int64_t at = (Tile::kGradient ? work.expert * params_.c_expert : 0) + work.column;
    const SumsPlace place{static_cast<char*>(params_.c) + at * (params_.wide ? 4 : 2),
                          params_.c_stride, work.rows - row, work.columns};
    SumsBuffer(&staged)[2] = shared_.staged[group_ * 4 + warp];
    if constexpr (Tile::kGradient) {
      if (params_.wide) {
        const BoxPlace box{params_.sums, work.column, first, work.expert};
        if (row < work.rows) send_in_turn(work, box, staged, d);
      } else if (params_.add) {
        add_bf16(place, first, d);
      } else {
        store_bf16(place, {first}, staged[0], d);
      }
    } else {
      const RowsOfC rows{first, params_.to, params_.scale, params_.add};
      if (params_.wide) {
        store_f32(place, first, d);
      } else if (plain_ && row + Tile::kWarpRows <= work.rows) {
        send_bf16({params_.sums, work.column, first, 0}, staged, work.columns, d);
      } else {
        store_bf16(place, rows, staged[0], d);
      }
    }
  }

  /// One step's products run while the next are started.
  template <int kColumns>
  __device__ __forceinline__ void multiply_steps(int steps, float (&d)[kColumns / 2]) {
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      shared_.ready.wait_full(at_);
      begin_products();
      multiply<kColumns, Tile::kDepth, Tile::kBox, Tile::kBox, Tile::kA, Tile::kB>(
          d, operand<Tile::kBox>(shared_.a[at_.stage()] + group_ * Tile::kBox * Tile::kBox),
          operand<Tile::kBox>(shared_.b[at_.stage()]), step > 0);
      commit_products();
      wait_products<1>();
      if (step > 0) shared_.ready.release_by_warp(before());
      at_.advance();
    }
    wait_products<0>();
    pin(d);
    if (steps > 0) shared_.ready.release_by_warp(before());
  }

  /// A warp's rows, behind those of the parts of the depth before.
  template <int kCount>
  __device__ __forceinline__ void send_in_turn(const GroupedWork& work, const BoxPlace& box,
                                               SumsBuffer (&staged)[2], const float (&d)[kCount]) {
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes - kWarpgroup / kWarpLanes;
    int* const turn = params_.turns + work.split_tile * Tile::kConsumerWarps + warp;
    const bool leads = work.parts > 1 && threadIdx.x % kWarpLanes == 0;
    if (leads) wait_for_turn(turn, work.part);
    send_f32(box, params_.add || work.part > 0, staged, work.columns, d);
    if (!leads) return;
    wait_stores();
    pass_turn(turn, work.part + 1 < work.parts ? work.part : -1);
  }

  __device__ __forceinline__ Ring<Tile::kStages> before() const {
    Ring<Tile::kStages> ring = at_;
    --ring.count;
    return ring;
  }

  const GroupedParams& params_;
  GroupedShared<Tile>& shared_;
  int group_;
  bool plain_;  // rows of c are as they come
  Ring<Tile::kStages> at_;
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    grouped_gemm(const __grid_constant__ GroupedParams params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static_assert(sizeof(GroupedShared<Tile>) <= kSharedLimit);
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<GroupedShared<Tile>*>(memory);
  // Those who read a tile: the loader, a gradient's cleaner, the consumers.
  constexpr int kReaders = Tile::kConsumerWarps + 1 + (Tile::kGradient ? 1 : 0);
  if (threadIdx.x == 0) {
    prefetch_map(params.a);
    prefetch_map(params.b);
    shared.ready.init(1, Tile::kConsumerWarps);
    shared.partial.init(1, 1);
    shared.work_ready.init(1, kReaders);
    shared.claim.init(1);
    fence_barrier_init();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  if (group == 0) {
    release_registers<Tile::kLoaderRegisters>();
    if (warp == 0) schedule_grouped(params, shared);
    if (warp == 1) GroupedLoader<Tile>(params, shared).run();
    if (Tile::kGradient && warp == 2) GroupedCleaner<Tile>(shared).run();
  } else {
    take_registers<Tile::kConsumerRegisters>();
    GroupedConsumer<Tile>(params, shared, group - 1).run();
    if (threadIdx.x % kWarpLanes == 0) wait_stores_read();
  }
#endif
}

}  // namespace strait::kernels::cuda::sm90
