#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

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

  /// The same with addresses aligned to 16 bytes, all that measured algorithms may count on.
  GemmShape least_aligned() const;

  auto operator<=>(const GemmShape&) const = default;
};

class GemmTable;

/// An algorithm of cuBLASLt and the workspace it wants.
struct GemmAlgorithm {
  cublasLtMatmulAlgo_t value = {};
  std::size_t workspace_bytes = 0;
};

/// Where a plan's algorithm came from. A run repeats bit for bit with each: on one device with one
/// version of the library, both the table and the heuristic always give the same algorithm.
enum class GemmOrigin : std::uint8_t { heuristic, table, table_refused };

/// cuBLASLt's descriptors and the algorithm for one shape: BF16 or FP32 inputs, FP32 sums (no
/// TF32), output in either. Split sums meet in FP32, in a fixed order.
class GemmPlan {
 public:
  /// The table's algorithm where it has one that the library accepts, else the first choice of the
  /// library's heuristic. Throws DeviceError when there is neither.
  GemmPlan(cublasLtHandle_t library, const GemmShape& shape, std::size_t workspace_bytes,
           const GemmTable& table);

  /// Enqueues the product. Precondition: `op` has this plan's shape. When the library refuses an
  /// algorithm from the table only now, the heuristic's takes its place for good.
  void run(cublasLtHandle_t library, const Gemm& op, void* workspace, cudaStream_t stream);

  /// Up to `most` algorithms that the heuristic proposes, its favourite first.
  std::vector<GemmAlgorithm> candidates(cublasLtHandle_t library, int most) const;
  void use(const GemmAlgorithm& algorithm) { algorithm_ = algorithm; }

  GemmOrigin origin() const { return origin_; }

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
  bool take_from(const GemmTable& table, cublasLtHandle_t library);
  void take_first(cublasLtHandle_t library);
  cublasStatus_t multiply(cublasLtHandle_t library, const Gemm& op, void* workspace,
                          cudaStream_t stream) const;

  // The library is column-major: it computes c^T = op(b)^T op(a)^T, so its first operand is b.
  Product product_;
  Matrix a_, b_, c_;
  GemmShape shape_;
  std::size_t workspace_limit_;
  GemmAlgorithm algorithm_;
  GemmOrigin origin_ = GemmOrigin::heuristic;
  float beta_ = 0;
};

}  // namespace strait::kernels::cuda
