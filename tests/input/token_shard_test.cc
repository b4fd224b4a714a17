#include "input/token_shard.h"

#include <cstring>

#include "core/files.h"
#include "tests/input/refusal.h"
#include "tests/input/vocabulary.h"

namespace strait::input {
namespace {

using Tokens = std::vector<std::int32_t>;
using strait::test::holds;
using strait::test::input_error;
using test::AnyVocabulary;
using test::contents;

/// A sound shard of the documents {1, 2}, {}, {3} and ways to spoil it.
struct Shard {
  Shard() { write(tokenizer); }

  void write(const Tokenizer& with) {
    TokenShardWriter writer(path, with);
    writer.append(Tokens{1, 2});
    writer.append({});
    writer.append(Tokens{3});
    writer.finish();
  }
  /// Overwrites a field of the file.
  template <class Value>
  void set(std::size_t offset, Value value) {
    std::string bytes = core::read_file(path);
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    scratch.file("a.tok", bytes);
  }
  void cut(std::size_t length) { scratch.file("a.tok", core::read_file(path).substr(0, length)); }
  std::string complaint() const {
    return input_error([&] { contents(TokenShard(path, tokenizer)); });
  }

  strait::test::TempFolder scratch;
  std::filesystem::path path = scratch / "a.tok";
  AnyVocabulary tokenizer{"any", 300};
};

TEST(TokenShard, RoundTripsInBothWidths) {
  for (const std::int32_t vocab : {300, 65536, 65537, 2000000000}) {
    Shard shard;
    const AnyVocabulary tokenizer("any", vocab);
    shard.write(tokenizer);
    const TokenShard read(shard.path, tokenizer);
    const std::int32_t eod = vocab - 1;
    EXPECT_EQ(contents(read), (Tokens{1, 2, eod, 3, eod}));
    EXPECT_EQ(read.documents(), 2);
    EXPECT_EQ(read.eod(), eod);
    Tokens middle(2);
    read.read(2, middle);
    EXPECT_EQ(middle, (Tokens{eod, 3}));
    EXPECT_EQ(std::filesystem::file_size(shard.path), 80u + 5 * (vocab <= 65536 ? 2 : 4));
    EXPECT_THROW(read.read(4, middle), std::out_of_range);
  }
}

TEST(TokenShard, RejectsATruncatedFile) {
  Shard shard;
  shard.cut(89);
  EXPECT_TRUE(holds(shard.complaint(), {"a.tok", "token_count", "expected 4", "got 5", "again"}));
  shard.cut(88);
  EXPECT_TRUE(holds(shard.complaint(), {"token_count", "expected 4", "got 5"}));
  shard.cut(80);
  EXPECT_TRUE(holds(shard.complaint(), {"token_count", "expected 0", "got 5"}));
  shard.cut(79);
  EXPECT_TRUE(holds(shard.complaint(), {"length", "80 bytes or more", "got 79"}));
  shard.cut(0);
  EXPECT_TRUE(holds(shard.complaint(), {"length", "80 bytes or more", "got 0"}));
}

TEST(TokenShard, RejectsWhatIsNotAShard) {
  Shard shard;
  shard.set(0, 'X');
  EXPECT_TRUE(holds(shard.complaint(), {"magic", "\"STRTOK01\"", "\"XTRTOK01\"", ".txt"}));
  shard.set(0, '\x1b');
  EXPECT_TRUE(holds(shard.complaint(), {"\"?TRTOK01\""}));
  EXPECT_TRUE(holds(input_error([&] { TokenShard(shard.scratch.path(), shard.tokenizer); }),
                    {"not a regular file"}));
}

TEST(TokenShard, NamesTheOtherByteOrder) {
  Shard shard;
  shard.set(8, std::uint32_t{0x01000000});
  EXPECT_TRUE(holds(shard.complaint(), {"version", "expected 1", "16777216", "byte order"}));
  shard.set(8, std::uint32_t{2});
  EXPECT_TRUE(holds(shard.complaint(), {"version", "expected 1", "got 2"}));
}

TEST(TokenShard, RejectsHostileHeaderFields) {
  struct Hostile {
    std::size_t offset;
    std::uint64_t value;
    const char* field;
  };
  const std::uint64_t huge = ~std::uint64_t{0};
  for (const Hostile& h :
       {Hostile{24, huge, "token_count"}, Hostile{24, huge / 2 + 6, "token_count"},
        Hostile{24, 0, "token_count"}, Hostile{32, huge, "document_count"},
        Hostile{32, 0, "document_count"}, Hostile{16, huge, "vocab_size"}, Hostile{40, huge, "eod"},
        Hostile{48, 0, "tokenizer"}}) {
    Shard shard;
    shard.set(h.offset, h.value);
    EXPECT_TRUE(holds(shard.complaint(), {h.field, "expected", "got"}));
  }
  for (const std::uint32_t width : {0, 1, 3, 8}) {
    Shard shard;
    shard.set(12, width);
    EXPECT_TRUE(holds(shard.complaint(), {"token_bytes", "2 or 4", std::to_string(width)}));
  }
  Shard shard;
  shard.cut(80);
  shard.set(24, std::uint64_t{0});
  EXPECT_TRUE(holds(shard.complaint(), {"token_count", "at least 1"}));
}

TEST(TokenShard, RejectsTokensOutsideTheVocabularyByPlace) {
  Shard shard;
  shard.set(80 + 2 * 1, std::uint16_t{300});
  EXPECT_TRUE(holds(shard.complaint(), {"a.tok", "token 1", "below 300", "got 300"}));
  Tokens last(3);
  EXPECT_NO_THROW(TokenShard(shard.path, shard.tokenizer).read(2, last));
}

TEST(TokenShard, MustEndWithEod) {
  Shard shard;
  shard.set(80 + 2 * 4, std::uint16_t{7});
  EXPECT_TRUE(holds(shard.complaint(), {"last token", "EOD (299)", "got 7"}));
}

TEST(TokenShard, RejectsAnotherTokenizer) {
  Shard shard;
  auto open = [&](const AnyVocabulary& tokenizer) {
    return input_error([&] { TokenShard(shard.path, tokenizer); });
  };
  EXPECT_TRUE(holds(open({"other", 300}), {"tokenizer", "\"other\"", "\"any\"", "data.tokenizer"}));
  EXPECT_TRUE(holds(open({"any", 301}), {"vocab_size", "expected 301", "got 300"}));
}

TEST(TokenShard, AFileThatShrinksIsAnError) {
  Shard shard;
  const TokenShard open(shard.path, shard.tokenizer);
  std::filesystem::resize_file(shard.path, 84);
  EXPECT_TRUE(holds(input_error([&] { contents(open); }), {"a.tok", "byte 84", "shrank"}));
}

TEST(TokenShardWriter, LeavesNothingBehindWithoutFinish) {
  Shard shard;
  const std::string before = core::read_file(shard.path);
  {
    TokenShardWriter writer(shard.path, shard.tokenizer);
    writer.append(Tokens{4});
  }
  EXPECT_EQ(core::read_file(shard.path), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(shard.scratch.path()), {}), 1);
}

TEST(TokenShardWriter, RejectsWhatCannotBeWritten) {
  Shard shard;
  TokenShardWriter writer(shard.path, shard.tokenizer);
  for (const std::int32_t token : {-1, 299, 300}) {  // 299 is EOD
    EXPECT_TRUE(holds(input_error([&] {
                        writer.append(Tokens{1, token});
                      }),
                      {"document 0", "0..299", "got " + std::to_string(token)}));
  }
  EXPECT_TRUE(holds(input_error([&] { writer.finish(); }), {"no document"}));
  EXPECT_TRUE(
      holds(input_error([&] { TokenShardWriter(shard.path / "no/folder.tok", shard.tokenizer); }),
            {"folder.tok", "cannot create"}));
  const AnyVocabulary wordy(std::string(33, 'n'), 300);
  EXPECT_TRUE(holds(input_error([&] { TokenShardWriter(shard.path, wordy); }), {"at most 32"}));
}

}  // namespace
}  // namespace strait::input
