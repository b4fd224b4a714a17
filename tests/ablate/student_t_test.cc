#include "ablate/student_t.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace strait::ablate {
namespace {

// Expected values from scipy 1.17, stats.t.ppf and 2 * stats.t.sf.
TEST(StudentT, QuantilesEqualScipys) {
  const struct {
    int dof;
    double p, x;
  } cases[] = {{1, 0.975, 12.706204736174694},
               {2, 0.975, 4.302652729749462},
               {3, 0.975, 3.1824463052837078},
               {4, 0.995, 4.604094871349992},
               {7, 0.8, 0.8960296443137653},
               {8, 0.9999, 6.441999821020496},
               {29, 0.975, 2.045229642132703},
               {200, 0.975, 1.9718962236339088},
               {1, 0.999999, 318309.88617359026},
               {2, 0.0001, -70.70007107496428},
               {5, 0.5, 0.0}};
  for (const auto& c : cases) {
    EXPECT_NEAR(student_t_quantile(c.p, c.dof), c.x, 1e-9 * std::max(1.0, std::abs(c.x)))
        << "dof " << c.dof << ", p " << c.p;
  }
}

TEST(StudentT, TailsEqualScipys) {
  const struct {
    int dof;
    double t, p;
  } cases[] = {{1, 0.0, 1.0},
               {1, 3.0, 0.20483276469913345},
               {2, -5.0, 0.037749551350623724},
               {5, 2.5, 0.05449009934237626},
               {9, 30.0, 2.4837047041582635e-10},
               {40, 1.0, 0.3233218117482911}};
  for (const auto& c : cases) EXPECT_NEAR(two_sided_p(c.t, c.dof), c.p, 1e-14) << c.dof;
  EXPECT_EQ(two_sided_p(std::numeric_limits<double>::max(), 3), 0.0);
}

TEST(StudentT, RefusesWhatIsNoProbabilityOrHasNoFreedom) {
  EXPECT_THROW(student_t_quantile(0.0, 3), core::InputError);
  EXPECT_THROW(student_t_quantile(1.0, 3), core::InputError);
  EXPECT_THROW(student_t_quantile(0.975, 0), core::InputError);
}

}  // namespace
}  // namespace strait::ablate
