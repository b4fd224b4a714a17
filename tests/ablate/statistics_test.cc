#include "ablate/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace strait::ablate {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

/// Three variants on three seeds. Expected values below from scipy 1.17 and numpy's lstsq.
Cells three_by_three() {
  return {{3.50, 3.47, 3.52}, {3.45, 3.44, 3.46}, {3.55, 3.50, 3.58}};
}

TEST(TwoWayFit, NoiseAndEffectsEqualLeastSquares) {
  const TwoWayFit full = fit_two_way(three_by_three());
  EXPECT_EQ(full.dof, 4);
  EXPECT_NEAR(full.noise, 0.015275252316519456, 1e-12);

  Cells cells = three_by_three();
  cells[2][0] = kMissing;
  const TwoWayFit fit = fit_two_way(cells);
  EXPECT_EQ(fit.dof, 3);
  EXPECT_NEAR(fit.noise, 0.017400510848184256, 1e-10);
  const double variants[] = {3.4966666666666666, 3.45, 3.5408333333333326};
  const double seeds[] = {0.0016666666666671, -0.0258333333333336, 0.0241666666666662};
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(fit.variant[i], variants[i], 1e-10);
    EXPECT_NEAR(fit.seed[i], seeds[i], 1e-10);
  }
}

TEST(TwoWayFit, CountsVariantsThatShareNoSeedApart) {
  const TwoWayFit fit = fit_two_way({{1, 2, kMissing, kMissing},
                                     {2, 4, kMissing, kMissing},
                                     {kMissing, kMissing, 3, 5},
                                     {kMissing, kMissing, 4, 7},
                                     {kMissing, kMissing, kMissing, kMissing}});
  EXPECT_EQ(fit.dof, 2);  // one for each of the two by two tables
  EXPECT_TRUE(std::isnan(fit.variant[4]));
  EXPECT_NEAR(fit.noise, 0.5, 1e-10);
}

TEST(Statistics, PairedAndPooledEqualScipys) {
  const Comparison c = compare(three_by_three(), {{0, 1}}).front();
  EXPECT_NEAR(c.mean, 0.14 / 3, 1e-12);
  EXPECT_EQ(c.paired.dof, 2);
  EXPECT_NEAR(c.paired.low, 0.008720836330699443, 1e-12);
  EXPECT_NEAR(c.paired.high, 0.08461249700263399, 1e-12);
  EXPECT_NEAR(c.paired.p, 0.03390821692070348, 1e-12);
  EXPECT_EQ(c.pooled.dof, 4);
  EXPECT_NEAR(c.pooled.low, 0.01203831221054781, 1e-10);
  EXPECT_NEAR(c.pooled.p, 0.020092107013114483, 1e-10);
  EXPECT_TRUE(c.paired.resolved);
}

TEST(Statistics, HolmCorrectsInStepsAndStaysMonotone) {
  const Cells cells = {{3.50, 3.47, 3.52}, {3.45, 3.44, 3.46}, {3.56, 3.52, 3.59}};
  const auto family = compare(cells, {{0, 1}, {2, 1}, {2, 0}});
  const double p[] = {family[0].paired.p, family[1].paired.p, family[2].paired.p};
  ASSERT_LT(p[2], p[1]);
  ASSERT_LT(p[1], p[0]);
  ASSERT_LT(p[0], 2 * p[1]) << "so that the last must not fall below the one before";
  EXPECT_DOUBLE_EQ(family[2].paired.p_holm, 3 * p[2]);
  EXPECT_DOUBLE_EQ(family[1].paired.p_holm, 2 * p[1]);
  EXPECT_DOUBLE_EQ(family[0].paired.p_holm, 2 * p[1]);
}

TEST(Statistics, ResolvedAloneIsNotResolvedAmongMany) {
  EXPECT_TRUE(compare(three_by_three(), {{0, 1}}).front().paired.resolved);
  EXPECT_FALSE(compare(three_by_three(), {{0, 1}, {0, 1}}).front().paired.resolved);
}

TEST(Statistics, OneSeedOrNoneSaysNothing) {
  const Cells cells = {{3.5, kMissing}, {3.4, kMissing}, {kMissing, 3.6}};
  const auto family = compare(cells, {{0, 1}, {0, 2}});
  EXPECT_NEAR(family[0].mean, 0.1, 1e-12);
  EXPECT_EQ(family[0].paired.dof, 0);
  EXPECT_FALSE(family[0].paired.resolved);
  EXPECT_TRUE(std::isnan(family[0].paired.low));
  EXPECT_TRUE(std::isnan(family[1].mean));
  EXPECT_FALSE(family[1].pooled.resolved);
}

TEST(Statistics, EqualOnEverySeedIsNotResolvedAndAConstantGapIs) {
  const auto family = compare({{3.0, 3.25}, {3.0, 3.25}, {3.5, 3.75}}, {{0, 1}, {2, 0}});
  EXPECT_FALSE(family[0].paired.resolved);
  EXPECT_FALSE(family[0].paired_design.sd > 0);
  EXPECT_TRUE(family[1].paired.resolved);
}

TEST(Statistics, OutcomesOfClaims) {
  Judgement yes, no;
  yes.resolved = true;
  EXPECT_EQ(outcome({.equal = false}, -0.1, yes), "supported");
  EXPECT_EQ(outcome({.equal = true}, -0.1, yes), "contradicted");
  EXPECT_EQ(outcome({.equal = false}, -0.1, no), "open");
  EXPECT_EQ(outcome({.equal = true}, -0.1, no), "open");
  EXPECT_EQ(outcome({.equal = false}, 0.1, yes), "contradicted");
}

TEST(Statistics, OrderLeavesOutWhatNeverRan) {
  const TwoWayFit fit =
      fit_two_way({{3.0, 3.1}, {kMissing, kMissing}, {2.0, kMissing}, {4.0, 4.1}});
  EXPECT_EQ(order_of(fit), (std::vector<std::size_t>{2, 0, 3}));
}

}  // namespace
}  // namespace strait::ablate
