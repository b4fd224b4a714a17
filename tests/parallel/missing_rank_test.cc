#include "parallel/missing_rank.h"

#include <gtest/gtest.h>

#include <sstream>

namespace strait::parallel {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr Seconds kLimit{25};
constexpr Seconds kOutside{0};

RankView waits_in(std::int64_t call, double silent = 0.1) {
  return {
      .sign = {.beat = 5, .call = call, .waiting = true}, .silent = Seconds(silent), .here = true};
}
RankView works_after(std::int64_t call, double silent = 0.1) {
  return {.sign = {.beat = 5, .call = call}, .silent = Seconds(silent), .here = true};
}
RankView of_other_host(RankView view) {
  view.here = false;
  return view;
}

/// "1 2 why", or "" while the run can go on; rank 0 asks.
std::string found(const std::vector<RankView>& ranks, Seconds waited) {
  const auto missing = find_missing(ranks, 0, waited, kLimit);
  if (!missing) return "";
  std::ostringstream text;
  for (const int rank : missing->ranks) text << rank << ' ';
  text << missing->why;
  return text.str();
}

TEST(MissingRank, NobodyIsMissedBeforeTheLimit) {
  EXPECT_EQ(found({waits_in(9), works_after(8), waits_in(9, 24.9)}, Seconds(24.9)), "");
  EXPECT_EQ(found({works_after(9), works_after(8)}, kOutside), "");
}

TEST(MissingRank, OneWhoseProcessIsGoneIsMissedAtOnce) {
  RankView gone = waits_in(9);
  gone.ended = true;
  EXPECT_EQ(found({works_after(9), waits_in(9), gone}, kOutside), "2 ended");
  EXPECT_EQ(found({works_after(9), waits_in(9, 26), gone}, kOutside), "2 ended");
  EXPECT_EQ(found({works_after(9), gone, gone}, kOutside), "1 2 ended");
  gone.sign.finished = true;
  EXPECT_EQ(found({works_after(9), waits_in(9), gone}, kOutside), "");
}

TEST(MissingRank, ASilentOneIsMissedAfterTheLimit) {
  EXPECT_EQ(found({works_after(9), works_after(8, 25.1)}, kOutside), "1 gives no sign of life");
}

/// Halted inside a collective that the others have left: its last sign tells of waiting, and was
/// seen a moment after they began to wait for it.
TEST(MissingRank, OneHaltedWhileItWaitedIsMissedByThoseThatWentOn) {
  EXPECT_EQ(found({waits_in(10), waits_in(9, 24.9), waits_in(10)}, Seconds(25.1)),
            "1 gives no sign of life");
}

TEST(MissingRank, ThoseInNoCollectiveAreMissed) {
  EXPECT_EQ(found({waits_in(10), works_after(9), waits_in(9), works_after(10)}, Seconds(25.1)),
            "1 3 does not come to where others wait");
}

/// A device or a network hangs while the process lives.
TEST(MissingRank, ThoseOfTheEarliestCollectiveAreMissed) {
  EXPECT_EQ(found({waits_in(10), waits_in(9), waits_in(10), waits_in(9)}, Seconds(25.1)),
            "1 3 does not come to where others wait");
}

TEST(MissingRank, OneOfAnotherHostMayBeUnheardOf) {
  const RankView unheard = of_other_host({});
  EXPECT_EQ(found({waits_in(10), waits_in(10), unheard}, Seconds(25.1)),
            "does not come to where others wait");
  EXPECT_EQ(found({waits_in(10), of_other_host(waits_in(10, 25.1))}, Seconds(20)),
            "1 gives no sign of life");
  EXPECT_EQ(found({works_after(10), of_other_host(waits_in(10, 25.1))}, kOutside), "");
}

}  // namespace
}  // namespace strait::parallel
