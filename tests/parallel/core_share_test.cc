#include "parallel/core_share.h"

#include <gtest/gtest.h>

namespace strait::parallel {
namespace {

std::string told(int ranks, int cores, int given, int place = 0) {
  return bound_too_tightly({.here = {.hosts = {}, .host = "node1", .ranks = ranks, .place = place},
                            .cores = cores,
                            .given = given});
}

TEST(CoreShare, TellsOfRanksBoundToHalfOfTheirShareOrLess) {
  const std::string text = told(2, 1, 32);
  EXPECT_NE(text.find("ranks of node1 are bound to 1 of 32 cores each"), std::string::npos) << text;
  EXPECT_NE(text.find("mpirun --bind-to none"), std::string::npos) << text;
  EXPECT_NE(told(8, 1, 16), "");
}

TEST(CoreShare, SaysNothingOfRanksThatHaveTheirShare) {
  EXPECT_EQ(told(2, 16, 32), "");  // a socket each
  EXPECT_EQ(told(2, 32, 32), "");  // not bound
  EXPECT_EQ(told(16, 1, 16), "");  // a core each is all there is
  EXPECT_EQ(told(9, 1, 16), "");   // more than half of 16 / 9
  EXPECT_EQ(told(4, 1, 1), "");    // one core for all
  EXPECT_EQ(told(2, 8, 0), "");    // not started by mpirun
}

TEST(CoreShare, TellsOncePerHost) {
  EXPECT_EQ(told(2, 1, 32, 1), "");
}

}  // namespace
}  // namespace strait::parallel
