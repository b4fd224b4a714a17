#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace strait::core {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Random123, kat_vectors, philox4x32 with 10 rounds.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(StreamId, IsFnv1a) {
  EXPECT_EQ(stream_id(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(stream_id("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(stream_id("foobar"), 0x85944171f73967e8ull);
}

TEST(Rng, UniformStaysInsideAndFillsTheInterval) {
  const Rng rng(3, "uniform");
  constexpr int kBins = 16, kDraws = 160000;
  int bins[kBins] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GT(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<int>(u * kBins)];
  }
  // Five standard deviations of a bin: sqrt(160000 / 16 * 15 / 16) = 97.
  for (const int n : bins) EXPECT_NEAR(n, kDraws / kBins, 485);
}

TEST(Rng, NormalHasTheMomentsOfANormal) {
  const Rng rng(5, "normal");
  constexpr int kDraws = 200000;
  double moments[5] = {};
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal(static_cast<std::uint64_t>(i));
    double power = 1;
    for (double& moment : moments) {
      moment += power / kDraws;
      power *= x;
    }
  }
  // Five standard errors: sqrt(var(x^k) / n) with var 1, 2, 15, 96.
  const double error = 5 / std::sqrt(kDraws);
  EXPECT_NEAR(moments[1], 0, error * 1);
  EXPECT_NEAR(moments[2], 1, error * std::sqrt(2.0));
  EXPECT_NEAR(moments[3], 0, error * std::sqrt(15.0));
  EXPECT_NEAR(moments[4], 3, error * std::sqrt(96.0));
}

TEST(Rng, ValuesDependOnSeedStreamAndIndex) {
  std::set<double> seen;
  for (const std::uint64_t seed : {1, 2}) {
    for (const char* stream : {"init/a", "init/b"}) {
      for (const std::uint64_t index : {0ull, 1ull, 1ull << 40}) {
        seen.insert(Rng(seed, stream).uniform(index));
        EXPECT_EQ(Rng(seed, stream).normal(index), Rng(seed, stream).normal(index));
      }
    }
  }
  EXPECT_EQ(seen.size(), 12u);
}

}  // namespace
}  // namespace strait::core
