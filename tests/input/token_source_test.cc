#include "input/token_source.h"

#include <stdexcept>

#include "input/dataset.h"
#include "input/token_shard.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using Tokens = std::vector<std::int32_t>;
constexpr std::int32_t kEod = 9;

Tokens contents(const TokenView& view) {
  Tokens out(static_cast<std::size_t>(view.size));
  view.read(0, out);
  return out;
}

TEST(HoldOut, CutsBeforeTheLastDocuments) {
  const MemorySource source({1, 2, kEod, 3, kEod, 4, 5, kEod}, kEod);
  EXPECT_EQ(source.documents(), 3);
  const auto [train, val] = hold_out(source, 2);
  EXPECT_EQ(contents(train), (Tokens{1, 2, kEod}));
  EXPECT_EQ(contents(val), (Tokens{3, kEod, 4, 5, kEod}));
  EXPECT_EQ(train.documents, 1);
  EXPECT_EQ(val.documents, 2);
}

TEST(HoldOut, NothingHeldOutLeavesAll) {
  const MemorySource source({1, kEod}, kEod);
  const auto [train, val] = hold_out(source, 0);
  EXPECT_EQ(contents(train), (Tokens{1, kEod}));
  EXPECT_EQ(val.size, 0);
}

TEST(HoldOut, FindsACutFarFromTheEnd) {
  Tokens tokens(200001, 1);  // three scan blocks in the last document
  tokens[10] = tokens.back() = kEod;
  const MemorySource source(tokens, kEod);
  const auto [train, val] = hold_out(source, 1);
  EXPECT_EQ(train.size, 11);
  EXPECT_EQ(val.size, 200001 - 11);
}

TEST(HoldOut, MustLeaveADocument) {
  const MemorySource source({1, kEod, 2, kEod}, kEod);
  for (const std::int64_t documents : {2, 3, -1}) {
    EXPECT_TRUE(test::holds(test::input_error([&] { hold_out(source, documents); }),
                            {"data.val_documents", "0..1", std::to_string(documents)}));
  }
}

TEST(TokenView, ReadsStayInsideThePart) {
  const MemorySource source({1, kEod, 2, kEod}, kEod);
  const TokenView val = hold_out(source, 1).second;
  Tokens one(1), three(3);
  val.read(1, one);
  EXPECT_EQ(one[0], kEod);
  EXPECT_THROW(val.read(0, three), std::out_of_range);
  EXPECT_THROW(val.read(-1, one), std::out_of_range);
  EXPECT_THROW(source.read(4, one), std::out_of_range);
}

TEST(Dataset, ValidationMayBeAFileOfItsOwn) {
  const test::TempFolder scratch;
  const auto tokenizer = make_tokenizer("bytes");
  {
    TokenShardWriter writer(scratch / "val.tok", *tokenizer);
    writer.append(tokenizer->encode("xyz"));
    writer.finish();
  }
  const Dataset data({.train = scratch.file("train.txt", "one document").string(),
                      .val = (scratch / "val.tok").string()},
                     *tokenizer, 1, 257);
  EXPECT_EQ(data.train()[0].tokens.documents, 1);
  EXPECT_EQ(contents(data.validation()[0].tokens), (Tokens{'x', 'y', 'z', 256}));
}

TEST(Dataset, NamesTheMissingFile) {
  const test::TempFolder scratch;
  const auto tokenizer = make_tokenizer("bytes");
  for (const char* name : {"nowhere.txt", "nowhere.tok"}) {
    const config::Data options{.train = (scratch / name).string()};
    EXPECT_TRUE(test::holds(
        test::input_error([&] { const Dataset data(options, *tokenizer, 1, 257); }), {name}));
  }
}

}  // namespace
}  // namespace strait::input
