#include "io/hf_view.h"

#include <gtest/gtest.h>

#include <numeric>

namespace strait::io {
namespace {

std::vector<int> counted(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

TEST(HfView, SameOrderIsTheIdentity) {
  const std::vector<int> hf = counted(6);
  EXPECT_EQ(gather(HfView{}, std::span(hf)), hf);
  std::vector<int> back(6);
  scatter(HfView{}, std::span(hf), std::span(back));
  EXPECT_EQ(back, hf);
}

TEST(HfView, TransposesAndTakesParts) {
  // [3, 2] there, [2, 3] here.
  const std::vector<int> hf = counted(6);
  const HfView transposed{.dims = {{2, 1}, {3, 2}}};
  EXPECT_EQ(transposed.elements(), 6);
  EXPECT_EQ(gather(transposed, std::span(hf)), (std::vector<int>{0, 2, 4, 1, 3, 5}));
  // The second rows of two matrices [2, 2].
  const std::vector<int> eight = counted(8);
  const HfView second{.offset = 2, .dims = {{2, 4}, {2, 1}}};
  EXPECT_EQ(gather(second, std::span(eight)), (std::vector<int>{2, 3, 6, 7}));
}

TEST(HfView, ScatterUndoesGather) {
  const std::vector<int> hf = counted(8);
  std::vector<int> back(8, -1);
  for (const std::int64_t offset : {0, 2}) {
    const HfView half{.offset = offset, .dims = {{2, 1}, {2, 4}}};
    const std::vector<int> part = gather(half, std::span(hf));
    scatter(half, std::span(part), std::span(back));
  }
  EXPECT_EQ(back, hf);
}

}  // namespace
}  // namespace strait::io
