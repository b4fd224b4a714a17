#include "input/tokenizer.h"

#include <stdexcept>

#include "tests/input/refusal.h"

namespace strait::input {
namespace {

TEST(ByteTokenizer, RoundTripsEveryByte) {
  const auto tokenizer = make_tokenizer("bytes");
  std::string text;
  for (int c = 0; c < 256; ++c) text.push_back(static_cast<char>(c));
  const auto tokens = tokenizer->encode(text);
  ASSERT_EQ(tokens.size(), 256u);
  for (int c = 0; c < 256; ++c) EXPECT_EQ(tokens[c], c);
  EXPECT_EQ(tokenizer->decode(tokens), text);
}

TEST(ByteTokenizer, EodIsOutsideTheTextAndStandsForNoBytes) {
  const auto tokenizer = make_tokenizer("bytes");
  EXPECT_EQ(tokenizer->name(), "bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->eod(), 256);
  EXPECT_EQ(tokenizer->bytes_of(256), 0);
  EXPECT_EQ(tokenizer->bytes_of('a'), 1);
  EXPECT_EQ(tokenizer->decode(std::vector<std::int32_t>{'a', 256, 'b'}), "ab");
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(ByteTokenizer, RejectsIdsOutsideTheVocabulary) {
  const auto tokenizer = make_tokenizer("bytes");
  for (const std::int32_t token : {-1, 257}) {
    EXPECT_THROW(tokenizer->bytes_of(token), std::out_of_range);
    EXPECT_THROW(tokenizer->decode(std::vector<std::int32_t>{token}), std::out_of_range);
  }
}

TEST(MakeTokenizer, UnknownNameListsTheKnown) {
  EXPECT_TRUE(test::holds(test::input_error([] { make_tokenizer("byte"); }),
                          {"unknown tokenizer", "\"byte\"", "known: bytes"}));
}

}  // namespace
}  // namespace strait::input
