#include <cblas.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/kernels_cuda/naive.h"

namespace strait::kernels::test {
namespace {

/// Every second half of a float is zero: the values come from bf16.
bool is_bf16(const Line& x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if ((std::bit_cast<std::uint32_t>(x[i]) & 0xffffu) != 0) return false;
  }
  return true;
}

/// The float nearest to x between 0 and x.
float truncated(double x) {
  const auto nearest = static_cast<float>(x);
  return std::abs(static_cast<double>(nearest)) > std::abs(x) ? std::nextafter(nearest, 0.0f)
                                                              : nearest;
}

}  // namespace

float naive_dot(const Line& a, const Line& b, std::int64_t count) {
  float sum = 0;
  if (!is_bf16(a, count) && !is_bf16(b, count)) {
    for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
    return sum;
  }
  constexpr std::int64_t kTerms = 16;
  for (std::int64_t begin = 0; begin < count; begin += kTerms) {
    double wide = sum;
    for (std::int64_t i = begin; i < std::min(begin + kTerms, count); ++i) {
      wide += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    sum = truncated(wide);
  }
  return sum;
}

}  // namespace strait::kernels::test

/// Takes the place of the library's product in float, in this program alone: a library that sums in
/// blocks and vectors is not naive.
extern "C" void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b,
                            blasint m, blasint n, blasint k, float alpha, const float* a,
                            blasint lda, const float* b, blasint ldb, float beta, float* c,
                            blasint ldc) {
  using strait::kernels::test::Line;
  const bool rows_of_a = trans_a == CblasNoTrans, rows_of_b = trans_b != CblasNoTrans;
  for (blasint i = 0; i < m; ++i) {
    const Line row{a + i * (rows_of_a ? lda : 1), rows_of_a ? 1 : lda};
    for (blasint j = 0; j < n; ++j) {
      const Line column{b + j * (rows_of_b ? ldb : 1), rows_of_b ? 1 : ldb};
      const float product = alpha * strait::kernels::test::naive_dot(row, column, k);
      c[i * ldc + j] = beta == 0 ? product : product + beta * c[i * ldc + j];
    }
  }
}
