#include "train/effective_rank.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace strait::train {
namespace {

struct Tridiagonal {
  std::vector<double> diagonal, beside;  // [n], [n - 1]
};

/// One reflection: column k of a, below its first subdiagonal, becomes 0.
void reflect(std::vector<double>& a, std::int64_t n, std::int64_t k, std::vector<double>& v,
             std::vector<double>& w) {
  double norm = 0;
  for (std::int64_t i = k + 1; i < n; ++i) norm += a[i * n + k] * a[i * n + k];
  norm = std::sqrt(norm);
  if (norm == 0) return;
  for (std::int64_t i = k + 1; i < n; ++i) v[i] = a[i * n + k];
  const double target = v[k + 1] > 0 ? -norm : norm;
  v[k + 1] -= target;
  double square = 0;
  for (std::int64_t i = k + 1; i < n; ++i) square += v[i] * v[i];
  // a -= v w^T + w v^T with w = p - (p v / |v|^2) v, p = 2 a v / |v|^2.
  double along = 0;
  for (std::int64_t i = k + 1; i < n; ++i) {
    double sum = 0;
    for (std::int64_t j = k + 1; j < n; ++j) sum += a[i * n + j] * v[j];
    w[i] = 2 * sum / square;
    along += w[i] * v[i] / square;
  }
  for (std::int64_t i = k + 1; i < n; ++i) w[i] -= along * v[i];
  for (std::int64_t i = k + 1; i < n; ++i) {
    for (std::int64_t j = k + 1; j < n; ++j) a[i * n + j] -= v[i] * w[j] + w[i] * v[j];
  }
  a[(k + 1) * n + k] = target;
}

Tridiagonal tridiagonal(std::vector<double> a, std::int64_t n) {
  std::vector<double> v(static_cast<std::size_t>(n)), w(static_cast<std::size_t>(n));
  for (std::int64_t k = 0; k + 2 < n; ++k) reflect(a, n, k, v, w);
  Tridiagonal out;
  for (std::int64_t i = 0; i < n; ++i) {
    out.diagonal.push_back(a[i * n + i]);
    if (i + 1 < n) out.beside.push_back(a[(i + 1) * n + i]);
  }
  return out;
}

/// Eigenvalues below x: negative pivots of t - x.
std::int64_t count_below(const Tridiagonal& t, double x) {
  std::int64_t count = 0;
  double pivot = 1;
  for (std::size_t i = 0; i < t.diagonal.size(); ++i) {
    const double beside = i == 0 ? 0 : t.beside[i - 1];
    pivot = t.diagonal[i] - x - beside * beside / pivot;
    if (pivot == 0) pivot = std::numeric_limits<double>::min();
    count += pivot < 0 ? 1 : 0;
  }
  return count;
}

}  // namespace

std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::int64_t n) {
  const Tridiagonal t = tridiagonal(std::move(a), n);
  double reach = 0;  // Gershgorin
  for (std::size_t i = 0; i < t.diagonal.size(); ++i) {
    const double before = i == 0 ? 0 : std::abs(t.beside[i - 1]);
    const double after = i < t.beside.size() ? std::abs(t.beside[i]) : 0;
    reach = std::max(reach, std::abs(t.diagonal[i]) + before + after);
  }
  const double enough = reach * std::numeric_limits<double>::epsilon();
  std::vector<double> out;
  for (std::int64_t k = 0; k < n; ++k) {
    double low = out.empty() ? -reach : out.back() - enough, high = reach;
    while (high - low > enough) {
      const double middle = 0.5 * (low + high);
      if (middle <= low || middle >= high) break;
      (count_below(t, middle) > k ? high : low) = middle;
    }
    out.push_back(0.5 * (low + high));
  }
  return out;
}

double effective_rank(const std::vector<double>& gram, std::int64_t n) {
  std::vector<double> singular = symmetric_eigenvalues(gram, n);
  // What rounding leaves of eigenvalues that are 0.
  const double largest = singular.empty() ? 0 : std::max(singular.back(), 0.0);
  const double floor = largest * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  for (double& s : singular) s = s > floor ? std::sqrt(s) : 0;
  const double sum = std::accumulate(singular.begin(), singular.end(), 0.0);
  if (sum == 0) return 0;
  double entropy = 0;
  for (const double s : singular) {
    if (s > 0) entropy -= s / sum * std::log(s / sum);
  }
  return std::exp(entropy);
}

std::vector<double> centred_gram(const std::vector<double>& x, std::int64_t n, std::int64_t width) {
  std::vector<double> rows = x, mean(static_cast<std::size_t>(width));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < width; ++c) mean[c] += x[i * width + c] / static_cast<double>(n);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < width; ++c) rows[i * width + c] -= mean[c];
  }
  std::vector<double> gram(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const double* a = rows.data() + i * width;
      gram[i * n + j] = gram[j * n + i] =
          std::inner_product(a, a + width, rows.data() + j * width, 0.0);
    }
  }
  return gram;
}

}  // namespace strait::train
