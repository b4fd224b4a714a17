#pragma once

#include "kernels/cuda/sm90/softmax.cuh"
#include "kernels/cuda/sm90/wgmma.cuh"

// Sums of a product to shared memory in the layout that TMA and WGMMA read.
namespace strait::kernels::cuda::sm90 {

/// Writes four 8x8 matrices of bf16; lane l names row l % 8 of matrix l / 8 (16-byte aligned), and
/// holds elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each.
__device__ __forceinline__ void store_matrices(std::uint32_t row, std::uint32_t r0,
                                               std::uint32_t r1, std::uint32_t r2,
                                               std::uint32_t r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(row),
               "r"(r0), "r"(r1), "r"(r2), "r"(r3)
               : "memory");
}

/// Reads what store_matrices writes.
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], std::uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

/// Where this thread's row of the first 16 columns stands, in a buffer of stage_packed: its chunk
/// of 16 bytes permuted by the row (tma.cuh). The next columns' differ in bits 5 and 6 alone.
__device__ __forceinline__ std::uint32_t staged_address(const void* buffer) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) % kWarpgroup / kWarpLanes;
  const int row = 16 * warp + lane % 16, chunk = lane / 16;
  return shared_address(buffer) + row * kPieceRowBytes + ((chunk ^ (row % 8)) << 4);
}

/// Writes the 64 rows of a warpgroup, already packed as a first operand, to pieces of kRows rows at
/// `to`: the first of the 64 rows, a multiple of 8, in a 1024-byte aligned buffer.
template <int kRows = 64, int kSteps>
__device__ __forceinline__ void stage_packed(void* to, const std::uint32_t (&a)[kSteps][4]) {
  const std::uint32_t at = staged_address(to);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    store_matrices((at ^ (i % 4 << 5)) + i / 4 * kRows * kPieceRowBytes, a[i][0], a[i][1], a[i][2],
                   a[i][3]);
  }
}

/// The reverse of stage_packed.
template <int kRows = 64, int kSteps>
__device__ __forceinline__ void load_packed(std::uint32_t (&a)[kSteps][4], const void* from) {
  const std::uint32_t at = staged_address(from);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    load_matrices(a[i], (at ^ (i % 4 << 5)) + i / 4 * kRows * kPieceRowBytes);
  }
}

/// As stage_packed, rounding sums to bf16.
template <int kRows, int kCount>
__device__ __forceinline__ void stage_rows(void* to, const float (&d)[kCount]) {
  std::uint32_t packed[kCount / 8][4];
  pack(packed, d);
  stage_packed<kRows>(to, packed);
}

}  // namespace strait::kernels::cuda::sm90
