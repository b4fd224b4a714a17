#include "ablate/power.h"

#include <gtest/gtest.h>

#include <cmath>

namespace strait::ablate {
namespace {

TEST(Power, SmallestResolvedIsTheSumOfTwoQuantiles) {
  // scipy: t.ppf(0.975, 4) + t.ppf(0.8, 4) = 2.7764451052 + 0.9409645777
  const Design design{.sd = 0.01, .seeds = 5, .dof = 4};
  EXPECT_NEAR(smallest_resolved(design), 0.01 * 3.7174096829 / std::sqrt(5.0), 1e-10);
  EXPECT_TRUE(std::isnan(smallest_resolved({.sd = 0.01, .seeds = 1, .dof = 0})));
}

TEST(Power, SeedsNeededIsTheFirstCountThatResolves) {
  Design design{.sd = 0.01, .seeds = 3, .dof = 2};
  const auto needed = seeds_needed(design, -0.01);
  ASSERT_TRUE(needed);
  design.dof = *needed - 1;
  design.seeds = *needed;
  EXPECT_LE(smallest_resolved(design), 0.01);
  design.dof = *needed - 2;
  design.seeds = *needed - 1;
  EXPECT_GT(smallest_resolved(design), 0.01);
}

TEST(Power, NoSeedsAreNamedForNothingOrForTooMany) {
  const Design design{.sd = 0.01, .seeds = 3, .dof = 2};
  EXPECT_FALSE(seeds_needed(design, 0));
  EXPECT_FALSE(seeds_needed(design, 1e-5));
  EXPECT_FALSE(seeds_needed({.sd = 0, .seeds = 3, .dof = 2}, 0.1));
  EXPECT_EQ(seeds_needed(design, 1.0), 3);
}

TEST(Power, TokensFollowTheLineInLogTokens) {
  // A difference of -0.001 * log2(tokens / 1e6): 0.01 at 2^10 million tokens.
  std::vector<double> tokens, means;
  for (int i = 1; i <= 64; ++i) {
    tokens.push_back(i * 1e6);
    means.push_back(-0.001 * std::log2(i));
  }
  const auto needed = tokens_needed(tokens, means, 0.01);
  ASSERT_TRUE(needed);
  EXPECT_NEAR(*needed, 1024e6, 1e3);
  EXPECT_EQ(tokens_needed(tokens, means, 0.003), 64e6) << "reached already";
}

TEST(Power, TokensDoNotHelpWhereTheGapShrinksOrIsFarOff) {
  const std::vector<double> tokens = {1e6, 2e6, 3e6, 4e6, 5e6, 6e6};
  EXPECT_FALSE(tokens_needed(tokens, {6, 5, 4, 3, 2, 1}, 10));
  EXPECT_FALSE(tokens_needed(tokens, {1, 1.001, 1.002, 1.003, 1.004, 1.005}, 10));
  EXPECT_FALSE(tokens_needed({1e6, 2e6}, {1, 2}, 3));
}

}  // namespace
}  // namespace strait::ablate
