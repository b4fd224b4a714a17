#pragma once

#include "kernels/cuda/sm90/tma.cuh"

// Products of a warpgroup (wgmma): 64 rows by kColumns, 16 deep, bf16 operands, fp32 sums. The
// second operand always lies in shared memory, the first there or in registers.
//
// Sums: thread t of the warpgroup has rows 16 (t / 32) + t % 32 / 4 + {0, 8} and columns 8 j +
// 2 (t % 4) + {0, 1}: d[4 j + 2 half + e]. First operand in registers: the same places, packed in
// pairs {half 0, half 1} of columns 8 j, then of 8 (j + 1).
namespace strait::kernels::cuda::sm90 {

/// Which way an operand lies in shared memory: its depth along the 64 columns of a piece, or its
/// rows (columns of the second operand) along them.
enum class Along : int { depth = 0, rows = 1 };

/// Descriptor of an operand in pieces of `rows` 128-byte rows. Offsets are added as bytes / 16.
template <int kRows>
__device__ __forceinline__ std::uint64_t operand(const void* start) {
  constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62;
  constexpr std::uint64_t kEightRows = std::uint64_t{8 * kPieceRowBytes / 16} << 32;
  constexpr std::uint64_t kNextPiece = std::uint64_t{kRows * kPieceRowBytes / 16} << 16;
  return kSwizzle128 | kEightRows | kNextPiece | ((shared_address(start) & 0x3ffff) >> 4);
}

/// Offset in a descriptor of the step-th 16 of an operand's depth.
template <Along kAlong, int kRows>
__device__ __forceinline__ constexpr int depth_offset(int step) {
  if (kAlong == Along::rows) return step * 16 * kPieceRowBytes / 16;
  return (step / 4 * kRows * kPieceRowBytes + step % 4 * 32) / 16;
}

/// Orders this warpgroup's register and shared-memory accesses before its next products.
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

/// Closes a group of products.
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

/// Waits until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from moving accesses to registers of products across this point.
template <int kCount>
__device__ __forceinline__ void pin(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kSteps>
__device__ __forceinline__ void pin(std::uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+r"(a[i][j])::"memory");
  }
}

#define STRAIT_D0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define STRAIT_D1 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define STRAIT_D2 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define STRAIT_D3 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define STRAIT_D4 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define STRAIT_D5 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define STRAIT_D6 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define STRAIT_D7                                                                                \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, " \
  "%127"
#define STRAIT_R4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define STRAIT_R8(i) STRAIT_R4(i), STRAIT_R4(i + 4)
#define STRAIT_R16(i) STRAIT_R8(i), STRAIT_R8(i + 8)
#define STRAIT_R32(i) STRAIT_R16(i), STRAIT_R16(i + 16)
#define STRAIT_R48(i) STRAIT_R32(i), STRAIT_R16(i + 32)
#define STRAIT_R64(i) STRAIT_R32(i), STRAIT_R32(i + 32)
#define STRAIT_R96(i) STRAIT_R64(i), STRAIT_R32(i + 64)
#define STRAIT_R128(i) STRAIT_R64(i), STRAIT_R64(i + 64)

/// d = a b^T, or d += a b^T when `add`: the instruction for kColumns columns.
template <int kColumns>
struct Product;

// Columns, names and references of the sums, then the numbers of the operands behind them.
#define STRAIT_PRODUCT(n, names, sums, x0, x1, x2, x3, x4, x5, x6)                                 \
  template <>                                                                                      \
  struct Product<n> {                                                                              \
    template <Along kA, Along kB>                                                                  \
    static __device__ __forceinline__ void shared(float (&d)[n / 2], std::uint64_t a,              \
                                                  std::uint64_t b, bool add) {                     \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #x2                                        \
                   ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" names        \
                   "}, %" #x0 ", %" #x1 ", p, 1, 1, %" #x3 ", %" #x4 ";\n}\n"                      \
                   : sums                                                                          \
                   : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(static_cast<int>(kA)),        \
                     "n"(static_cast<int>(kB)));                                                   \
    }                                                                                              \
    template <Along kB>                                                                            \
    static __device__ __forceinline__ void registers(float (&d)[n / 2],                            \
                                                     const std::uint32_t (&a)[4], std::uint64_t b, \
                                                     bool add) {                                   \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #x5                                        \
                   ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" names        \
                   "}, {%" #x0 ", %" #x1 ", %" #x2 ", %" #x3 "}, %" #x4 ", p, 1, 1, %" #x6         \
                   ";\n}\n"                                                                        \
                   : sums                                                                          \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                           \
                     "r"(static_cast<int>(add)), "n"(static_cast<int>(kB)));                       \
    }                                                                                              \
  }

STRAIT_PRODUCT(16, "%0, %1, %2, %3, %4, %5, %6, %7", STRAIT_R8(0), 8, 9, 10, 11, 12, 13, 14);
STRAIT_PRODUCT(32, STRAIT_D0, STRAIT_R16(0), 16, 17, 18, 19, 20, 21, 22);
STRAIT_PRODUCT(64, STRAIT_D0 STRAIT_D1, STRAIT_R32(0), 32, 33, 34, 35, 36, 37, 38);
STRAIT_PRODUCT(96, STRAIT_D0 STRAIT_D1 STRAIT_D2, STRAIT_R48(0), 48, 49, 50, 51, 52, 53, 54);
STRAIT_PRODUCT(128, STRAIT_D0 STRAIT_D1 STRAIT_D2 STRAIT_D3, STRAIT_R64(0), 64, 65, 66, 67, 68, 69,
               70);
STRAIT_PRODUCT(192, STRAIT_D0 STRAIT_D1 STRAIT_D2 STRAIT_D3 STRAIT_D4 STRAIT_D5, STRAIT_R96(0), 96,
               97, 98, 99, 100, 101, 102);
STRAIT_PRODUCT(256, STRAIT_D0 STRAIT_D1 STRAIT_D2 STRAIT_D3 STRAIT_D4 STRAIT_D5 STRAIT_D6 STRAIT_D7,
               STRAIT_R128(0), 128, 129, 130, 131, 132, 133, 134);

#undef STRAIT_PRODUCT
#undef STRAIT_D0
#undef STRAIT_D1
#undef STRAIT_D2
#undef STRAIT_D3
#undef STRAIT_D4
#undef STRAIT_D5
#undef STRAIT_D6
#undef STRAIT_D7
#undef STRAIT_R4
#undef STRAIT_R8
#undef STRAIT_R16
#undef STRAIT_R32
#undef STRAIT_R48
#undef STRAIT_R64
#undef STRAIT_R96
#undef STRAIT_R128

/// d = a b^T over kDepth, both in shared memory, in pieces of kARows and kBRows; d += with `add`.
/// The first kSkip steps of 16 are left out.
template <int kColumns, int kDepth, int kARows, int kBRows, Along kA = Along::depth,
          Along kB = Along::depth, int kSkip = 0>
__device__ __forceinline__ void multiply(float (&d)[kColumns / 2], std::uint64_t a, std::uint64_t b,
                                         bool add = false) {
#pragma unroll
  for (int step = kSkip; step < kDepth / 16; ++step) {
    Product<kColumns>::template shared<kA, kB>(d, a + depth_offset<kA, kARows>(step),
                                               b + depth_offset<kB, kBRows>(step), add || step > 0);
  }
}

/// d += a b^T over 16 kSteps, a in registers, b in pieces of kBRows; d = without `add`.
template <int kColumns, int kBRows, Along kB, int kSteps>
__device__ __forceinline__ void multiply(float (&d)[kColumns / 2],
                                         const std::uint32_t (&a)[kSteps][4], std::uint64_t b,
                                         bool add = true) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    Product<kColumns>::template registers<kB>(d, a[step], b + depth_offset<kB, kBRows>(step),
                                              add || step > 0);
  }
}

}  // namespace strait::kernels::cuda::sm90
