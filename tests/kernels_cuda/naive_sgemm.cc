#include <cblas.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "tests/kernels_cuda/naive.h"

namespace strait::kernels::test {
namespace {

constexpr std::int64_t kTerms = 16;  // that the instruction sums at once
constexpr std::int64_t kLanes = 16;  // lines of a panel

/// Every second half of a float is zero: the values come from bf16.
bool is_bf16(const Line& x, std::int64_t terms) {
  for (std::int64_t t = 0; t < terms; ++t) {
    if ((std::bit_cast<std::uint32_t>(x[t]) & 0xffffu) != 0) return false;
  }
  return true;
}

/// The float nearest to x between 0 and x.
float truncated(double x) {
  const auto nearest = static_cast<float>(x);
  const bool beyond = std::abs(static_cast<double>(nearest)) > std::abs(x);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(nearest) - (beyond ? 1u : 0u));
}

/// Products of a with `kCount` lines; term t of all of them starts at b + t * kCount.
template <std::int64_t kCount>
void add_up(const float* a, const float* b, std::int64_t terms, Sum how, float* sums) {
  float sum[kCount] = {};
  if (how == Sum::plain) {
    for (std::int64_t t = 0; t < terms; ++t) {
      const float x = a[t];
      for (std::int64_t i = 0; i < kCount; ++i) sum[i] += x * b[t * kCount + i];
    }
    std::copy_n(sum, kCount, sums);
    return;
  }
  for (std::int64_t begin = 0; begin < terms; begin += kTerms) {
    double wide[kCount];
    for (std::int64_t i = 0; i < kCount; ++i) wide[i] = sum[i];
    for (std::int64_t t = begin; t < std::min(begin + kTerms, terms); ++t) {
      const double x = a[t];
      for (std::int64_t i = 0; i < kCount; ++i) {
        wide[i] += x * static_cast<double>(b[t * kCount + i]);
      }
    }
    for (std::int64_t i = 0; i < kCount; ++i) sum[i] = truncated(wide[i]);
  }
  std::copy_n(sum, kCount, sums);
}

}  // namespace

float naive_dot(const float* a, const float* b, std::int64_t terms, Sum how) {
  float sum;
  add_up<1>(a, b, terms, how, &sum);
  return sum;
}

Panels::Panels(const Lines& lines, std::int64_t terms)
    : terms_(terms), values_((lines.count + kLanes - 1) / kLanes * terms * kLanes) {
  for (std::int64_t i = 0; i < lines.count; ++i) {
    float* const to = values_.data() + i / kLanes * terms * kLanes + i % kLanes;
    for (std::int64_t t = 0; t < terms; ++t) to[t * kLanes] = lines[i][t];
  }
}

void Panels::dots(const float* a, std::int64_t begin, std::int64_t end, Sum how,
                  float* dots) const {
  for (std::int64_t panel = begin / kLanes; panel * kLanes < end; ++panel) {
    float sums[kLanes];
    add_up<kLanes>(a, values_.data() + panel * terms_ * kLanes, terms_, how, sums);
    const std::int64_t first = std::max(begin, panel * kLanes);
    const std::int64_t last = std::min(end, (panel + 1) * kLanes);
    std::copy(sums + first % kLanes, sums + first % kLanes + (last - first), dots + first - begin);
  }
}

namespace {

/// The columns of a product, and which of them come from bf16.
class Columns {
 public:
  Columns(const Lines& lines, std::int64_t terms) : panels_(lines, terms) {
    for (std::int64_t j = 0; j < lines.count; ++j) bf16_.push_back(is_bf16(lines[j], terms));
    narrow_ = std::count(bf16_.begin(), bf16_.end(), true);
  }

  /// Products of a row with all of them.
  std::vector<float> times(const float* row, bool row_is_bf16) const {
    const auto count = static_cast<std::int64_t>(bf16_.size());
    std::vector<float> products(bf16_.size()), truncating(bf16_.size());
    if (!row_is_bf16 && narrow_ < count) panels_.dots(row, 0, count, Sum::plain, products.data());
    if (row_is_bf16 || narrow_ > 0) {
      panels_.dots(row, 0, count, Sum::truncating, truncating.data());
    }
    for (std::size_t j = 0; j < bf16_.size(); ++j) {
      if (row_is_bf16 || bf16_[j]) products[j] = truncating[j];
    }
    return products;
  }

 private:
  Panels panels_;
  std::vector<bool> bf16_;
  std::int64_t narrow_;
};

}  // namespace
}  // namespace strait::kernels::test

/// Takes the place of the library's product in float, in this program alone: a library that sums in
/// blocks and vectors is not naive.
extern "C" void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b,
                            blasint m, blasint n, blasint k, float alpha, const float* a,
                            blasint lda, const float* b, blasint ldb, float beta, float* c,
                            blasint ldc) {
  using namespace strait::kernels::test;
  const bool rows_of_a = trans_a == CblasNoTrans, rows_of_b = trans_b != CblasNoTrans;
  const Lines rows{{a, rows_of_a ? 1 : lda}, rows_of_a ? lda : 1, m};
  const Columns columns({{b, rows_of_b ? 1 : ldb}, rows_of_b ? ldb : 1, n}, k);
  std::vector<float> row(static_cast<std::size_t>(k));
  for (blasint i = 0; i < m; ++i) {
    for (blasint t = 0; t < k; ++t) row[t] = rows[i][t];
    const std::vector<float> products = columns.times(row.data(), is_bf16({row.data(), 1}, k));
    for (blasint j = 0; j < n; ++j) {
      const float product = alpha * products[j];
      c[i * ldc + j] = beta == 0 ? product : product + beta * c[i * ldc + j];
    }
  }
}
