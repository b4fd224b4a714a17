#include "kernels/cuda/gemm_plan.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/gemm_table.h"
#include "kernels/device_error.h"

namespace strait::kernels::cuda {
namespace {

std::uint32_t alignment_of(const void* address) {
  constexpr std::uintptr_t kLimit = 256;
  const auto value = reinterpret_cast<std::uintptr_t>(address) | kLimit;
  return static_cast<std::uint32_t>(value & (~value + 1));
}

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

std::string describe(const GemmShape& s) {
  return "Gemm: M " + std::to_string(s.m) + ", N " + std::to_string(s.n) + ", K " +
         std::to_string(s.k) + ", row strides " + std::to_string(s.a_stride) + " " +
         std::to_string(s.b_stride) + " " + std::to_string(s.c_stride) + ", " + name_of(s.in) +
         " to " + name_of(s.out) + (s.trans_a ? ", a transposed" : "") +
         (s.trans_b ? ", b transposed" : "") + (s.bias ? ", bias" : "");
}

void check_library(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string("Gemm: ") + what + ": " + cublasLtGetStatusString(status));
}

template <class Value>
void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t name, const Value& value) {
  check_library(cublasLtMatmulDescSetAttribute(product, name, &value, sizeof(value)),
                "cublasLtMatmulDescSetAttribute");
}

template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t name,
         const Value& value) {
  check_library(cublasLtMatmulPreferenceSetAttribute(preference, name, &value, sizeof(value)),
                "cublasLtMatmulPreferenceSetAttribute");
}

/// A single row may carry any stride; the library wants at least the row's length.
std::int64_t row_stride(const ConstTensor& t) {
  return std::max(t.stride[0], t.shape[1]);
}

}  // namespace

GemmShape::GemmShape(const Gemm& op)
    : m(op.c.shape[0]),
      n(op.c.shape[1]),
      k(op.a.shape[op.trans_a ? 0 : 1]),
      a_stride(row_stride(op.a)),
      b_stride(row_stride(op.b)),
      c_stride(row_stride(op.c)),
      a_alignment(alignment_of(op.a.data)),
      b_alignment(alignment_of(op.b.data)),
      c_alignment(alignment_of(op.c.data)),
      in(op.a.dtype),
      out(op.c.dtype),
      trans_a(op.trans_a),
      trans_b(op.trans_b),
      accumulate(op.accumulate),
      bias(op.bias.defined()) {}

GemmShape GemmShape::least_aligned() const {
  GemmShape shape = *this;
  shape.a_alignment = shape.b_alignment = shape.c_alignment = 16;
  return shape;
}

GemmPlan::GemmPlan(cublasLtHandle_t library, const GemmShape& shape, std::size_t workspace_bytes,
                   const GemmTable& table)
    : a_(shape.trans_a ? matrix(shape.in, shape.k, shape.m, shape.a_stride)
                       : matrix(shape.in, shape.m, shape.k, shape.a_stride)),
      b_(shape.trans_b ? matrix(shape.in, shape.n, shape.k, shape.b_stride)
                       : matrix(shape.in, shape.k, shape.n, shape.b_stride)),
      c_(matrix(shape.out, shape.m, shape.n, shape.c_stride)),
      shape_(shape),
      workspace_limit_(workspace_bytes),
      beta_(shape.accumulate ? 1.0f : 0.0f) {
  cublasLtMatmulDesc_t product = nullptr;
  check_library(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                "cublasLtMatmulDescCreate");
  product_.reset(product);
  set(product, CUBLASLT_MATMUL_DESC_TRANSA, shape.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(product, CUBLASLT_MATMUL_DESC_TRANSB, shape.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (shape.bias) {
    set(product, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(shape.out));
  }
  if (!take_from(table, library)) take_first(library);
}

GemmPlan::Matrix GemmPlan::matrix(DType dtype, std::int64_t rows, std::int64_t width,
                                  std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check_library(
      cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<std::uint64_t>(width),
                                 static_cast<std::uint64_t>(rows), stride),
      "cublasLtMatrixLayoutCreate");
  return Matrix(layout);
}

bool GemmPlan::take_from(const GemmTable& table, cublasLtHandle_t library) {
  const GemmTableRow* row = table.find(shape_);
  if (!row) return false;
  cublasLtMatmulHeuristicResult_t checked = {};
  const cublasStatus_t status = cublasLtMatmulAlgoCheck(
      library, product_.get(), b_.get(), a_.get(), c_.get(), c_.get(), &row->algorithm, &checked);
  const bool accepted =
      status == CUBLAS_STATUS_SUCCESS && checked.workspaceSize <= workspace_limit_;
  origin_ = accepted ? GemmOrigin::table : GemmOrigin::table_refused;
  if (accepted) algorithm_ = {row->algorithm, checked.workspaceSize};
  return accepted;
}

void GemmPlan::take_first(cublasLtHandle_t library) {
  const std::vector<GemmAlgorithm> found = candidates(library, 1);
  if (found.empty()) {
    throw DeviceError(describe(shape_) +
                      ": cuBLASLt offers no algorithm; align rows and addresses to 16 bytes");
  }
  algorithm_ = found.front();
}

std::vector<GemmAlgorithm> GemmPlan::candidates(cublasLtHandle_t library, int most) const {
  cublasLtMatmulPreference_t raw = nullptr;
  check_library(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  const Preference preference(raw);
  set(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(workspace_limit_));
  // Sums split over blocks meet in FP32, not in the output's dtype.
  set(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape_.b_alignment);
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape_.a_alignment);
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape_.c_alignment);
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape_.c_alignment);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(library, product_.get(), b_.get(), a_.get(), c_.get(),
                                     c_.get(), raw, most, results.data(), &count);
  std::vector<GemmAlgorithm> found;
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return found;
  check_library(status, "cublasLtMatmulAlgoGetHeuristic");
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) {
      found.push_back({result.algo, result.workspaceSize});
    }
  }
  return found;
}

cublasStatus_t GemmPlan::multiply(cublasLtHandle_t library, const Gemm& op, void* workspace,
                                  cudaStream_t stream) const {
  const float alpha = 1.0f;
  return cublasLtMatmul(library, product_.get(), &alpha, op.b.data, b_.get(), op.a.data, a_.get(),
                        &beta_, op.c.data, c_.get(), op.c.data, c_.get(), &algorithm_.value,
                        workspace, algorithm_.workspace_bytes, stream);
}

void GemmPlan::run(cublasLtHandle_t library, const Gemm& op, void* workspace, cudaStream_t stream) {
  if (op.bias.defined()) {
    set(product_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, op.bias.data);
  }
  cublasStatus_t status = multiply(library, op, workspace, stream);
  if (status != CUBLAS_STATUS_SUCCESS && origin_ == GemmOrigin::table) {
    origin_ = GemmOrigin::table_refused;
    take_first(library);
    status = multiply(library, op, workspace, stream);
  }
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(describe(shape_) + ": cublasLtMatmul: " + cublasLtGetStatusString(status));
  }
}

}  // namespace strait::kernels::cuda
