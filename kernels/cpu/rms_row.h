#pragma once

#include <cmath>
#include <cstdint>

// Root-mean-square norm of one row, shared by the norm over the model width and over a head.
namespace strait::kernels::cpu {

/// y = x * r * w with r = 1 / sqrt(mean(x^2) + eps), which is returned. y may be x.
template <class T>
T rms_forward_row(const T* x, const T* w, T* y, std::int64_t width, double eps) {
  T squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
  const double mean = static_cast<double>(squares) / static_cast<double>(width);
  const T rstd = static_cast<T>(1.0 / std::sqrt(mean + eps));
#pragma omp simd
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * rstd * w[i];
  return rstd;
}

/// dx = gradient of x given dy of y, plus `residual` unless null; dw += this row's gradient of w.
/// dx may be dy or residual.
template <class T>
void rms_backward_row(const T* dy, const T* x, const T* w, T rstd, const T* residual, T* dx, T* dw,
                      std::int64_t width) {
  T product = 0;
#pragma omp simd reduction(+ : product)
  for (std::int64_t i = 0; i < width; ++i) product += dy[i] * w[i] * x[i];
  const T shrink = product * rstd * rstd / static_cast<T>(width);
  if (residual) {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      const T d = dy[i];
      dw[i] += d * x[i] * rstd;
      dx[i] = residual[i] + rstd * (d * w[i] - x[i] * shrink);
    }
  } else {
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      const T d = dy[i];
      dw[i] += d * x[i] * rstd;
      dx[i] = rstd * (d * w[i] - x[i] * shrink);
    }
  }
}

}  // namespace strait::kernels::cpu
