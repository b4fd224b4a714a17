#include "train/guard.h"

#include <gtest/gtest.h>

#include <limits>

namespace strait::train {
namespace {

using config::OnBadStep;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

config::Guard rule() {
  return {
      .non_finite = OnBadStep::skip, .spike = OnBadStep::rewind, .z = 4, .window = 9, .limit = 2};
}

TEST(Guard, LimitIsTheMedianAndRobustDeviations) {
  // Median 5, distances 4 3 2 1 0 1 2 3 4: their median is 2.
  EXPECT_DOUBLE_EQ(spike_limit({1, 2, 3, 4, 5, 6, 7, 8, 9}, 4), 5 + 4 * 1.4826 * 2);
  // One wild value among them changes little.
  EXPECT_DOUBLE_EQ(spike_limit({1, 2, 3, 4, 5, 6, 7, 8, 1e9}, 4), 5 + 4 * 1.4826 * 2);
  // Equal values have no deviation; a thousandth of the median stands in.
  EXPECT_DOUBLE_EQ(spike_limit({5, 5, 5}, 4), 5 + 4 * 5e-3);
}

TEST(Guard, HasNoLimitsBeforeItsWindowIsFullOrWhenOff) {
  Guard guard(rule());
  for (int i = 1; i <= 8; ++i) guard.accept(i, 10 * i);
  EXPECT_EQ(guard.limits()[0], kInfinity);
  guard.accept(9, 90);
  EXPECT_NEAR(guard.limits()[0], 16.86, 0.01);
  EXPECT_NEAR(guard.limits()[1], 168.6, 0.1);
  guard.accept(100, 1000);  // the first leaves
  EXPECT_NEAR(guard.limits()[0], 6 + 4 * 1.4826 * 2, 0.01);
  config::Guard off = rule();
  off.spike = OnBadStep::off;
  Guard quiet(off);
  for (int i = 1; i <= 20; ++i) quiet.accept(i, i);
  EXPECT_EQ(quiet.limits()[1], kInfinity);
}

TEST(Guard, JudgesByTheLimitsOfTheStep) {
  const Guard guard(rule());
  const std::array<double, 2> limits = {8, 3};  // of a sum over 4 labels, and of the norm
  EXPECT_EQ(guard.judge(8, 4, 3, limits).reason, "");
  const Guard::Verdict loss = guard.judge(8.4, 4, 1, limits);
  EXPECT_EQ(loss.action, OnBadStep::rewind);
  EXPECT_EQ(loss.reason, "loss 2.1 above 2");
  EXPECT_EQ(guard.judge(1, 4, 3.5, limits).reason, "gradient norm 3.5 above 3");
  for (const double bad : {kNan, kInfinity, -kInfinity}) {
    EXPECT_EQ(guard.judge(bad, 4, 1, limits).action, OnBadStep::skip);
    EXPECT_EQ(guard.judge(1, 4, bad, limits).action, OnBadStep::skip);
  }
}

TEST(Guard, EndsTheRunAfterTooManyBadSteps) {
  Guard guard(rule());
  EXPECT_TRUE(guard.count());
  EXPECT_TRUE(guard.count());
  EXPECT_FALSE(guard.count());
}

}  // namespace
}  // namespace strait::train
