#pragma once

#include "kernels/cuda/dtype.cuh"
#include "kernels/cuda/sm90/wgmma.cuh"

// Products of the fused CCA kernels: the first operand read row by row from shared memory, from
// wherever its rows lie, the second in pieces as wgmma wants it.
namespace strait::kernels::cuda::cca {

inline constexpr int kPieceColumns = 64;  // of a piece of the second operand

/// sm90::operand, computed afresh each time and from one lane for all, so that the compiler knows
/// it to be uniform: descriptors then cost no moves and no registers.
template <int kRows>
__device__ __forceinline__ std::uint64_t uniform_operand(const bf16* start) {
  std::uint64_t operand = sm90::operand<kRows>(start);
  auto low = static_cast<std::uint32_t>(operand);
  asm volatile("" : "+r"(low));
  low = __shfl_sync(0xffffffffu, low, 0);
  return (operand >> 32 << 32) | low;
}

/// load_matrices from an address in shared memory.
__device__ __forceinline__ void load_matrices_at(std::uint32_t (&r)[4], std::uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

/// d = the sum over kSteps depths of 16 of a times b (`add`: d += it). load(step, a) reads the
/// first operand, operand(step) is the second's descriptor. While two products run the next two
/// load.
template <int kSteps, sm90::Along kAlong, int kSums, class Load, class Operand>
__device__ __forceinline__ void multiply_steps(float (&d)[kSums], bool add, Load&& load,
                                               Operand&& operand) {
  constexpr int kBatch = 2;
  static_assert(kSteps % kBatch == 0);
  std::uint32_t a[2][kBatch][4];
#pragma unroll
  for (int first = 0; first < kSteps; first += kBatch) {
    const int turn = first / kBatch % 2;
    if (first >= 2 * kBatch) sm90::wait_products<1>();
#pragma unroll
    for (int k = 0; k < kBatch; ++k) load(first + k, a[turn][k]);
    sm90::begin_products();
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      sm90::Product<2 * kSums>::template registers<kAlong>(d, a[turn][k], operand(first + k),
                                                           add || first + k > 0);
    }
    sm90::commit_products();
  }
  sm90::wait_products<0>();
}

}  // namespace strait::kernels::cuda::cca
