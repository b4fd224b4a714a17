#pragma once

#include <cuda.h>

#include "kernels/cuda/sm90/barrier.cuh"

// Copies by the tensor memory accelerator. Tensors are [rows, heads, width] in bf16 or fp32; their
// maps (tensor_map.h) have coordinates {column, row, head} and boxes of 128 bytes of columns, which
// land as [rows][64] or [rows][32] with 128-byte rows, the 16-byte chunks of a row permuted by row
// % 8 (SWIZZLE_128B). One thread starts a copy.
namespace strait::kernels::cuda::sm90 {

inline constexpr int kPieceColumns = 64;  // columns of a box
inline constexpr int kPieceRowBytes = 128;

__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(&map) : "memory");
}

/// Starts copying one box to shared memory (1024-byte aligned); its bytes count at `full`. What
/// lies outside of the tensor reads as zero.
__device__ __forceinline__ void load_box(const CUtensorMap& map, Barrier& full, void* to,
                                         int column, int row, int head) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&full)), "r"(column), "r"(row), "r"(head)
      : "memory");
}

/// Starts copying one box from shared to global memory; what lies outside is not written.
__device__ __forceinline__ void store_box(const CUtensorMap& map, const void* from, int column,
                                          int row, int head) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];\n" ::"l"(
          &map),
      "r"(shared_address(from)), "r"(column), "r"(row), "r"(head)
      : "memory");
}

/// The same for a tensor in chunks of rows, whose map has a fourth coordinate.
__device__ __forceinline__ void load_box(const CUtensorMap& map, Barrier& full, void* to,
                                         int column, int row, int head, int chunk) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2];\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&full)), "r"(column), "r"(row), "r"(head), "r"(chunk)
      : "memory");
}

__device__ __forceinline__ void store_box(const CUtensorMap& map, const void* from, int column,
                                          int row, int head, int chunk) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];\n" ::"l"(
          &map),
      "r"(shared_address(from)), "r"(column), "r"(row), "r"(head), "r"(chunk)
      : "memory");
}

/// Starts copying `bytes` (a multiple of 16) from global to shared memory, both aligned to 16.
__device__ __forceinline__ void load_bytes(const void* from, Barrier& full, void* to, int bytes) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&full))
      : "memory");
}

/// Starts copying `bytes` (a multiple of 16) from shared to global memory, both aligned to 16.
__device__ __forceinline__ void store_bytes(void* to, const void* from, int bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\n" ::"l"(to),
               "r"(shared_address(from)), "r"(bytes)
               : "memory");
}

/// As store_bytes, adding fp32 numbers to those in global memory.
__device__ __forceinline__ void add_floats(void* to, const void* from, int bytes) {
  asm volatile(
      "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;\n" ::"l"(to),
      "r"(shared_address(from)), "r"(bytes)
      : "memory");
}

/// As store_box, adding to the fp32 numbers in global memory.
__device__ __forceinline__ void add_box(const CUtensorMap& map, const void* from, int column,
                                        int row, int head) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.3d.global.shared::cta.add.bulk_group [%0, {%2, %3, %4}], "
      "[%1];\n" ::"l"(&map),
      "r"(shared_address(from)), "r"(column), "r"(row), "r"(head)
      : "memory");
}

__device__ __forceinline__ void commit_stores() {
  asm volatile("cp.async.bulk.commit_group;\n" ::: "memory");
}

/// Waits until all but the last kPending groups of this thread's stores have read their shared
/// memory.
template <int kPending = 0>
__device__ __forceinline__ void wait_stores_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(kPending) : "memory");
}

/// Waits until this thread's stores have been made, all but the last kPending groups.
template <int kPending = 0>
__device__ __forceinline__ void wait_stores() {
  asm volatile("cp.async.bulk.wait_group %0;\n" ::"n"(kPending) : "memory");
}

/// Starts loading kRows rows of kWidth columns as kWidth / 64 pieces, one behind the other.
template <int kRows, int kWidth>
__device__ __forceinline__ void load_tile(const CUtensorMap& map, Barrier& full, void* to, int row,
                                          int head) {
  static_assert(kWidth % kPieceColumns == 0);
#pragma unroll
  for (int piece = 0; piece < kWidth / kPieceColumns; ++piece) {
    load_box(map, full, static_cast<char*>(to) + piece * kRows * kPieceRowBytes,
             piece * kPieceColumns, row, head);
  }
}

}  // namespace strait::kernels::cuda::sm90
