#pragma once

#include <cblas.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

// Matrix products of the CPU backend, for float and double alike.
namespace strait::kernels::cpu {

/// A row-major operand: `rows` start `stride` elements apart. With `trans` the product uses its
/// transpose.
template <class T>
struct Operand {
  const T* data = nullptr;
  std::int64_t stride = 0;
  bool trans = false;
};

/// c[M, N] = alpha op(a) op(b) + beta c; c is not read when beta is 0. Any size may be 0: without
/// a term in the sum (K = 0) beta c remains. Reproducible for a fixed number of threads; inside a
/// parallel region it runs on the calling thread. Precondition: sizes and strides fit a blasint.
template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, const Operand<T>& a,
          const Operand<T>& b, T beta, T* c, std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::int64_t i = 0; i < m; ++i) {
      T* row = c + i * c_stride;
      for (std::int64_t j = 0; j < n; ++j) row[j] = beta == T(0) ? T(0) : beta * row[j];
    }
    return;
  }
  // A single row may carry any stride; CBLAS wants at least the row's length all the same.
  const auto ld = [](std::int64_t stride, std::int64_t width) {
    return static_cast<blasint>(std::max(stride, width));
  };
  const auto rows = static_cast<blasint>(m), columns = static_cast<blasint>(n),
             terms = static_cast<blasint>(k);
  const auto flag = [](bool trans) { return trans ? CblasTrans : CblasNoTrans; };
  const blasint lda = ld(a.stride, a.trans ? m : k);
  const blasint ldb = ld(b.stride, b.trans ? k : n);
  const blasint ldc = ld(c_stride, n);
  if constexpr (std::is_same_v<T, float>) {
    cblas_sgemm(CblasRowMajor, flag(a.trans), flag(b.trans), rows, columns, terms, alpha, a.data,
                lda, b.data, ldb, beta, c, ldc);
  } else {
    cblas_dgemm(CblasRowMajor, flag(a.trans), flag(b.trans), rows, columns, terms, alpha, a.data,
                lda, b.data, ldb, beta, c, ldc);
  }
}

}  // namespace strait::kernels::cpu
