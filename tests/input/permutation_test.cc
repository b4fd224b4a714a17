#include "input/permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace strait::input {
namespace {

std::vector<std::int64_t> shuffled(std::int64_t size, std::uint64_t seed, std::uint64_t epoch) {
  const Permutation permutation(size, seed, epoch);
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < size; ++i) out.push_back(permutation(i));
  return out;
}

TEST(Permutation, IsABijection) {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4097}) {
    std::vector<char> seen(static_cast<std::size_t>(size));
    for (const std::int64_t place : shuffled(size, 7, 3)) {
      ASSERT_TRUE(place >= 0 && place < size) << size;
      EXPECT_FALSE(seen[place]) << size;
      seen[place] = 1;
    }
  }
}

TEST(Permutation, StaysInsideAHugeRange) {
  const std::int64_t size = (std::int64_t{1} << 40) + 12345;
  const Permutation permutation(size, 1, 0);
  std::int64_t previous = -1;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const std::int64_t place = permutation(size - 1 - i);
    EXPECT_TRUE(place >= 0 && place < size);
    EXPECT_NE(place, previous);
    previous = place;
  }
}

TEST(Permutation, ChangesWithSeedAndEpochOnly) {
  EXPECT_EQ(shuffled(100, 1, 0), shuffled(100, 1, 0));
  EXPECT_NE(shuffled(100, 1, 0), shuffled(100, 2, 0));
  EXPECT_NE(shuffled(100, 1, 0), shuffled(100, 1, 1));
  std::vector<std::int64_t> identity(100);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_NE(shuffled(100, 1, 0), identity);
}

TEST(Permutation, EveryPlaceIsEquallyLikely) {
  const std::int64_t size = 10, epochs = 10000;
  std::vector<std::int64_t> hits(size * size);
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto places = shuffled(size, 11, static_cast<std::uint64_t>(epoch));
    for (std::int64_t i = 0; i < size; ++i) ++hits[i * size + places[i]];
  }
  const double expected = static_cast<double>(epochs) / size;
  for (const std::int64_t count : hits) {
    EXPECT_NEAR(static_cast<double>(count), expected, 6 * std::sqrt(expected));  // six sigma
  }
}

}  // namespace
}  // namespace strait::input
