#include "input/random_source.h"

#include <algorithm>

#include "input/dataset.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using Tokens = std::vector<std::int32_t>;

Tokens tokens_of(const TokenSource& source, std::int64_t first, std::size_t count) {
  Tokens out(count);
  source.read(first, out);
  return out;
}

TEST(RandomSource, ATokenIsAFunctionOfSeedAndPlace) {
  const RandomSource source(7, 1000, 256);
  const Tokens all = tokens_of(source, 0, 100);
  EXPECT_EQ(tokens_of(source, 33, 50), Tokens(all.begin() + 33, all.begin() + 83));
  EXPECT_EQ(tokens_of(RandomSource(7, 1000, 256), 0, 100), all);
  EXPECT_NE(tokens_of(RandomSource(8, 1000, 256), 0, 100), all);
}

TEST(RandomSource, DrawsEveryIdButEodAboutEquallyOften) {
  constexpr std::int64_t kVocab = 11, kEod = 4, kCount = 100000;
  Tokens seen(kVocab);
  for (const std::int32_t id : tokens_of(RandomSource(1, kVocab, kEod), 5, kCount)) ++seen.at(id);
  EXPECT_EQ(seen[kEod], 0);
  for (std::int64_t id = 0; id < kVocab; ++id) {
    if (id == kEod) continue;
    EXPECT_NEAR(seen[id], kCount / 10, 5 * 95) << id;  // 5 standard deviations
  }
}

TEST(RandomSource, StandsForTrainingTextWithoutValidation) {
  const auto tokenizer = make_tokenizer("bytes");
  const Dataset data({.train = "random"}, *tokenizer, 3, 500);
  EXPECT_TRUE(data.validation().empty());
  EXPECT_EQ(fingerprint(data.train()).size(), 16u);  // without reading 2^40 tokens
  Tokens some(1000);
  data.train()[0].tokens.read(std::int64_t{1} << 39, some);
  EXPECT_LT(*std::ranges::max_element(some), 500);
  EXPECT_GT(*std::ranges::max_element(some), 400);
}

}  // namespace
}  // namespace strait::input
