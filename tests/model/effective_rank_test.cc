#include "train/effective_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "tests/support/tensors.h"
#include "train/host_copy.h"

namespace strait::test {
namespace {

std::vector<double> random_values(std::int64_t count, std::uint64_t seed) {
  Buffers buffers(seed);
  return values(buffers.normal(DType::f64, {count}));
}

TEST(SymmetricEigenvalues, OfASecondDifferenceAreKnown) {
  // Strang's matrix: 2 - 2 cos(k pi / (n + 1)).
  constexpr std::int64_t kN = 40;
  std::vector<double> a(kN * kN);
  for (std::int64_t i = 0; i < kN; ++i) {
    a[i * kN + i] = 2;
    if (i > 0) a[i * kN + i - 1] = a[(i - 1) * kN + i] = -1;
  }
  const std::vector<double> got = train::symmetric_eigenvalues(a, kN);
  for (std::int64_t k = 1; k <= kN; ++k) {
    EXPECT_NEAR(got[k - 1], 2 - 2 * std::cos(k * std::numbers::pi / (kN + 1)), 1e-13) << k;
  }
}

/// A full matrix with chosen eigenvalues: two reflections of a diagonal.
TEST(SymmetricEigenvalues, SurviveReflections) {
  constexpr std::int64_t kN = 23;
  std::vector<double> want, a(kN * kN);
  for (std::int64_t i = 0; i < kN; ++i) {
    want.push_back(i < 5 ? -3.0 : 0.25 * static_cast<double>(i * i));
    a[i * kN + i] = want.back();
  }
  for (const std::uint64_t seed : {1, 2}) {
    const std::vector<double> v = random_values(kN, seed);
    double square = 0;
    for (const double x : v) square += x * x;
    std::vector<double> h(kN * kN), left(kN * kN), both(kN * kN);
    for (std::int64_t i = 0; i < kN; ++i) {
      for (std::int64_t j = 0; j < kN; ++j) {
        h[i * kN + j] = (i == j ? 1.0 : 0.0) - 2 * v[i] * v[j] / square;
      }
    }
    for (std::int64_t i = 0; i < kN * kN * kN; ++i) {
      const std::int64_t r = i / kN / kN, c = i / kN % kN, s = i % kN;
      left[r * kN + c] += h[r * kN + s] * a[s * kN + c];
    }
    for (std::int64_t i = 0; i < kN * kN * kN; ++i) {
      const std::int64_t r = i / kN / kN, c = i / kN % kN, s = i % kN;
      both[r * kN + c] += left[r * kN + s] * h[s * kN + c];
    }
    a = std::move(both);
  }
  const std::vector<double> got = train::symmetric_eigenvalues(a, kN);
  for (std::int64_t i = 0; i < kN; ++i) EXPECT_NEAR(got[i], want[i], 1e-11) << i;
}

TEST(EffectiveRank, IsWhatTheEntropySays) {
  EXPECT_EQ(train::effective_rank(std::vector<double>(9), 3), 0.0);
  EXPECT_NEAR(train::effective_rank({4}, 1), 1.0, 1e-12);
  // Singular values 3 and 1: shares 3/4 and 1/4.
  const double entropy = -0.75 * std::log(0.75) - 0.25 * std::log(0.25);
  EXPECT_NEAR(train::effective_rank({9, 0, 0, 0, 1, 0, 0, 0, 0}, 3), std::exp(entropy), 1e-12);
  std::vector<double> unit(49);
  for (std::int64_t i = 0; i < 7; ++i) unit[i * 8] = 2;
  EXPECT_NEAR(train::effective_rank(unit, 7), 7.0, 1e-12);
}

TEST(EffectiveRank, CannotExceedTheRank) {
  constexpr std::int64_t kRows = 30, kRank = 3, kWidth = 12;
  const std::vector<double> a = random_values(kRows * kRank, 3),
                            b = random_values(kRank * kWidth, 4);
  std::vector<double> x(kRows * kWidth);
  for (std::int64_t i = 0; i < kRows * kWidth; ++i) {
    for (std::int64_t r = 0; r < kRank; ++r) {
      x[i] += a[i / kWidth * kRank + r] * b[r * kWidth + i % kWidth];
    }
  }
  const double rank = train::effective_rank(train::centred_gram(x, kRows, kWidth), kRows);
  EXPECT_GT(rank, 1.5);
  EXPECT_LE(rank, 3.0 + 1e-9);
}

TEST(CentredGram, IgnoresWhatAllRowsShare) {
  const std::vector<double> x = {1, 2, 3, 6}, moved = {11, -5, 13, -1};
  const std::vector<double> want = {1 + 4, -1 - 4, -1 - 4, 1 + 4};
  EXPECT_EQ(train::centred_gram(x, 2, 2), want);
  EXPECT_EQ(train::centred_gram(moved, 2, 2), want);
}

TEST(HostCopy, ReadsStridesAndEveryNumber) {
  std::vector<float> f = {0, 1, 2, 3, 4, 5, 6, 7};
  const Tensor rows(f.data(), DType::f32, {2, 4});
  const Stream cpu{.device = Device::cpu};
  EXPECT_EQ(train::to_doubles(rows.slice(1, 1, 2), cpu), (std::vector<double>{1, 2, 5, 6}));
  EXPECT_EQ(train::to_doubles(rows.slice(1, 0, 4).split_last(2, 2).slice(2, 1, 1), cpu),
            (std::vector<double>{1, 3, 5, 7}));
  EXPECT_EQ(train::to_doubles(rows.slice(1, 2, 2), {1, 0, 1}, cpu),
            (std::vector<double>{6, 7, 2, 3, 6, 7}));
  std::vector<std::uint16_t> b = {0x3f80, 0xc000, 0x0000};  // 1, -2, 0
  EXPECT_EQ(train::to_doubles(Tensor(b.data(), DType::bf16, {3}), cpu),
            (std::vector<double>{1, -2, 0}));
  std::vector<std::int32_t> i = {-1, 70000};
  EXPECT_EQ(train::to_doubles(Tensor(i.data(), DType::i32, {2}), cpu),
            (std::vector<double>{-1, 70000}));
  EXPECT_TRUE(train::to_doubles(ConstTensor{}, cpu).empty());
}

}  // namespace
}  // namespace strait::test
