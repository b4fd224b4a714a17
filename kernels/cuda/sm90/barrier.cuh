#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Barriers of a thread block: mbarriers in shared memory, which TMA completes, and the numbered
// hardware barriers. One wrapper per PTX instruction.
namespace strait::kernels::cuda::sm90 {

inline constexpr int kWarpLanes = 32;
inline constexpr int kWarpgroup = 128;  // threads
inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int kSharedLimit = 227 << 10;  // bytes of shared memory a block can have

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// A phase ends when `arrivals` threads have arrived and all announced bytes have landed. Waiters
/// name the parity of the phase they wait for; the first phase has parity 0, so a wait for parity 1
/// on a fresh barrier passes.
struct Barrier {
  std::uint64_t state;

  __device__ __forceinline__ void init(int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(this)),
                 "r"(arrivals)
                 : "memory");
  }

  __device__ __forceinline__ void arrive() {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(this))
                 : "memory");
  }

  /// Arrives for `count` threads.
  __device__ __forceinline__ void arrive(int count) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(this)),
                 "r"(count)
                 : "memory");
  }

  /// Arrives and announces `bytes` that TMA will write.
  __device__ __forceinline__ void arrive_expecting(int bytes) {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(this)),
        "r"(bytes)
        : "memory");
  }

  __device__ __forceinline__ void wait(int parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra passed;\n"
        "bra again;\n"
        "passed:\n"
        "}\n" ::"r"(shared_address(this)),
        "r"(parity)
        : "memory");
  }
};

/// Makes init() visible to TMA; before the block's first barrier.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}

/// Makes this thread's writes to shared memory visible to TMA and WGMMA after a barrier.
__device__ __forceinline__ void fence_shared_for_async() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

/// Orders this thread's ordinary accesses to global memory and those of TMA.
__device__ __forceinline__ void fence_global_for_async() {
  asm volatile("fence.proxy.async.global;\n" ::: "memory");
}

/// Lets the next launch on the stream begin, if it was made to overlap, as soon as every block of
/// this one has called this.
__device__ __forceinline__ void allow_next_launch() {
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
}

/// Waits until the launch before this one is over and its writes are to be seen.
__device__ __forceinline__ void wait_for_last_launch() {
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
}

/// Numbered barrier `id` (0 is __syncthreads) among `threads` threads, whole warps.
__device__ __forceinline__ void sync_threads(int id, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

/// Arrives at barrier `id` without waiting for the others.
__device__ __forceinline__ void arrive_threads(int id, int threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

/// Gives registers beyond `kCount` per thread back to the block; the whole warpgroup calls it.
template <int kCount>
__device__ __forceinline__ void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kCount));
}

/// Takes registers up to `kCount` per thread, waiting until others have released them.
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kCount));
}

/// A number that is the same in all lanes, in a way that the assembler knows it.
template <class T>
__device__ __forceinline__ T of_warp(T x) {
  return __shfl_sync(kFullWarp, x, 0);
}

/// A position in a ring of kStages buffers, each with a "full" and an "empty" barrier. Counts up to
/// 2^32 uses, or without end when kStages is a power of two.
template <int kStages>
struct Ring {
  unsigned count = 0;

  __device__ __forceinline__ int stage() const { return static_cast<int>(count % kStages); }
  __device__ __forceinline__ int phase() const { return static_cast<int>(count / kStages % 2); }
  __device__ __forceinline__ void advance() { ++count; }
  /// Once in a loop: addresses that follow from the position then stay in uniform registers.
  __device__ __forceinline__ void make_uniform() { count = of_warp(count); }
};

/// The two barriers of each buffer of a ring. The producer waits for empty and fills; the consumer
/// waits for full and, when done, arrives at empty. Either every thread that wrote, or read, a
/// buffer arrives itself, or one lane of each warp does: racecheck does not see accesses of one
/// lane ordered by the arrival of another.
template <int kStages>
struct RingBarriers {
  Barrier full[kStages];
  Barrier empty[kStages];

  __device__ __forceinline__ void init(int full_arrivals, int empty_arrivals) {
    for (int i = 0; i < kStages; ++i) {
      full[i].init(full_arrivals);
      empty[i].init(empty_arrivals);
    }
  }
  __device__ __forceinline__ void wait_empty(const Ring<kStages>& at) {
    empty[at.stage()].wait(at.phase() ^ 1);
  }
  __device__ __forceinline__ void wait_full(const Ring<kStages>& at) {
    full[at.stage()].wait(at.phase());
  }
  /// Says that this thread has filled its share of the buffer, or has read it.
  __device__ __forceinline__ void fill(const Ring<kStages>& at) { full[at.stage()].arrive(); }
  __device__ __forceinline__ void release(const Ring<kStages>& at) { empty[at.stage()].arrive(); }
  /// The same for a warp whose lanes all call it: one of them arrives.
  __device__ __forceinline__ void release_by_warp(const Ring<kStages>& at) {
    __syncwarp();
    if (threadIdx.x % kWarpLanes == 0) empty[at.stage()].arrive();
  }
};

}  // namespace strait::kernels::cuda::sm90
