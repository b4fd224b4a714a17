#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// One wrapper per PTX instruction of the portable tensor-core path (sm_80 and later). All of them
// are collective over a full warp except the cp_async family, which is per thread.
namespace strait::kernels::cuda {

/// d += a b on one 16x8 tile, bf16 inputs, fp32 sums (mma.m16n8k16). With g = lane / 4 and
/// t = lane % 4, d holds (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1); a holds pairs at (g, 2t),
/// (g+8, 2t), (g, 2t+8), (g+8, 2t+8); b holds pairs at k = 2t and 2t + 8 of column g.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                         std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8x8 matrices of bf16 from shared memory; lane l names row l % 8 of matrix l / 8 (16-byte
/// aligned). Lane l receives elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

/// As load_matrices, each matrix transposed on the way.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

/// Starts copying 16 bytes from global to shared memory; writes zeros when not `valid` (nothing is
/// read then). Both addresses are 16-byte aligned.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
               :
               : "r"(to), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}

/// As cp_async_16 for one 4-byte word.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool valid) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n"
               :
               : "r"(to), "l"(global), "r"(valid ? 4 : 0)
               : "memory");
}

/// Closes the group of copies started since the last commit of this thread.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

/// Waits until at most `kPending` of this thread's groups are still under way.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

/// 2^x, exact to about 2 ulp; 0 for -inf.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace strait::kernels::cuda
