#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/gemm.h"

namespace strait::kernels::cuda {

/// All of a Gemm but its addresses: what decides the algorithm. Row-major, as in the op.
struct GemmShape {
  explicit GemmShape(const Gemm& op);

  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;
  /// Bytes the addresses are multiples of, 256 at most.
  std::uint32_t a_alignment, b_alignment, c_alignment;
  DType in, out;
  bool trans_a, trans_b, accumulate, bias;

  auto operator<=>(const GemmShape&) const = default;
};

/// cuBLASLt's descriptors and the algorithm for one shape: BF16 or FP32 inputs, FP32 sums (no
/// TF32), output in either. The algorithm is the library's first choice, so a run repeats bit for
/// bit on one device with one library version.
class GemmPlan {
 public:
  /// Throws DeviceError when the library has no algorithm for the shape.
  GemmPlan(cublasLtHandle_t library, const GemmShape& shape, std::size_t workspace_bytes);

  /// Enqueues the product. Precondition: `op` has this plan's shape.
  void run(cublasLtHandle_t library, const Gemm& op, void* workspace, cudaStream_t stream) const;

 private:
  struct Free {
    void operator()(cublasLtMatmulDesc_t d) const { cublasLtMatmulDescDestroy(d); }
    void operator()(cublasLtMatrixLayout_t l) const { cublasLtMatrixLayoutDestroy(l); }
    void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
  };
  using Product = std::unique_ptr<cublasLtMatmulDescOpaque_t, Free>;
  using Matrix = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Free>;
  using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Free>;

  static Matrix matrix(DType dtype, std::int64_t rows, std::int64_t width, std::int64_t stride);
  void choose(cublasLtHandle_t library, const GemmShape& shape, std::size_t workspace_bytes);

  // The library is column-major: it computes c^T = op(b)^T op(a)^T, so its first operand is b.
  Product product_;
  Matrix a_, b_, c_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  std::size_t workspace_bytes_ = 0;
  float beta_ = 0;
};

}  // namespace strait::kernels::cuda
