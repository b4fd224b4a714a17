#include <cstring>

#include "core/files.h"
#include "input/flat_tokens.h"
#include "input/megatron.h"
#include "input/open_tokens.h"
#include "input/token_shard.h"
#include "tests/input/refusal.h"
#include "tests/input/vocabulary.h"

// Token files of other programs, written here byte by byte from their description.
namespace strait::input {
namespace {

using Tokens = std::vector<std::int32_t>;
using strait::test::holds;
using strait::test::input_error;
using test::AnyVocabulary;
using test::contents;

template <class Value>
std::string bytes_of(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

template <class Id>
std::string packed(const Tokens& tokens) {
  return bytes_of(std::vector<Id>(tokens.begin(), tokens.end()));
}

std::string llmc(std::uint32_t magic, std::uint32_t version, std::uint32_t count) {
  std::vector<std::uint32_t> header(256);
  header[0] = magic, header[1] = version, header[2] = count;
  return bytes_of(header);
}

std::string llmq(std::uint32_t version, std::uint32_t width, std::uint32_t count,
                 std::uint32_t vocab, std::uint32_t masks) {
  std::string header =
      "BIN.TOK\n" + bytes_of(std::vector<std::uint32_t>{version, width, count, vocab, masks});
  header.resize(1023, '*');
  return header + "\n";
}

struct Index {
  std::string magic{"MMIDIDX\0\0", 9};
  std::uint64_t version = 1;
  std::uint8_t type = 8;
  std::vector<std::int32_t> lengths;
  std::vector<std::int64_t> begins, documents;

  std::string bytes() const {
    return magic + bytes_of(std::vector{version}) + static_cast<char>(type) +
           bytes_of(std::vector<std::uint64_t>{lengths.size(), documents.size()}) +
           bytes_of(lengths) + bytes_of(begins) + bytes_of(documents);
  }
};

struct Formats : testing::Test {
  strait::test::TempFolder scratch;
  AnyVocabulary tokenizer{"any", 300};  // EOD 299

  std::string complaint(const std::string& bytes,
                        config::DataFormat format = config::DataFormat::automatic,
                        const char* name = "a.bin") const {
    return input_error([&] { open_tokens(scratch.file(name, bytes), tokenizer, format); });
  }
};

TEST_F(Formats, ReadsBothKindsOfLlmcShards) {
  const Tokens tokens{299, 1, 2, 299, 3};
  for (const bool wide : {false, true}) {
    const std::string body = wide ? packed<std::uint32_t>(tokens) : packed<std::uint16_t>(tokens);
    const auto path =
        scratch.file("a.bin", (wide ? llmc(20240801, 7, 5) : llmc(20240520, 1, 5)) + body);
    const auto source = open_tokens(path, tokenizer);
    EXPECT_EQ(contents(*source), tokens);
    EXPECT_EQ(source->documents(), 2);
    EXPECT_EQ(source->eod(), 299);
    const auto [train, val] = hold_out(*source, 1);
    EXPECT_EQ(train.size, 4);
    EXPECT_EQ(val.size, 1);
  }
}

TEST_F(Formats, WritesLlmcShardsOfBothKinds) {
  for (const std::int32_t vocab : {300, 65536, 65537}) {
    const AnyVocabulary any("any", vocab);
    const auto path = scratch / "w.bin";
    TokenShardWriter writer(path, any, config::DataFormat::llmc);
    writer.append(Tokens{1, 2});
    writer.append(Tokens{3});
    writer.finish();
    const Tokens expected{vocab - 1, 1, 2, vocab - 1, 3};
    EXPECT_EQ(core::read_file(path), vocab > 65536
                                         ? llmc(20240801, 7, 5) + packed<std::uint32_t>(expected)
                                         : llmc(20240520, 1, 5) + packed<std::uint16_t>(expected));
    EXPECT_EQ(contents(*open_tokens(path, any)), expected);
  }
}

TEST_F(Formats, WritesNoOtherForeignFormat) {
  EXPECT_TRUE(holds(input_error([&] {
                      TokenShardWriter(scratch / "m.bin", tokenizer, config::DataFormat::llmq);
                    }),
                    {"m.bin", "strait or llmc"}));
}

TEST_F(Formats, RefusesUnsoundLlmcShardsByName) {
  const std::string body = packed<std::uint16_t>({1, 2, 299});
  EXPECT_EQ(complaint(llmc(20240520, 1, 3) + body), "");
  EXPECT_TRUE(holds(complaint(llmc(20240520, 1, 4) + body),
                    {"a.bin", "token count", "expected 3", "got 4", "cut short"}));
  EXPECT_TRUE(holds(complaint(llmc(20240520, 1, 3) + body + "x"), {"token count", "7 bytes"}));
  EXPECT_TRUE(holds(complaint(llmc(20240520, 1, 0)), {"token count", "at least 1"}));
  EXPECT_TRUE(holds(complaint(llmc(20240520, 2, 3) + body), {"version", "expected 1", "got 2"}));
  EXPECT_TRUE(holds(complaint(llmc(20240801, 1, 3) + body), {"version", "expected 7", "got 1"}));
  EXPECT_TRUE(
      holds(complaint(llmc(__builtin_bswap32(20240520), 0, 0)), {"magic", "other byte order"}));
  EXPECT_TRUE(
      holds(complaint(llmc(20240521, 1, 3) + body), {"a.bin", "magic", "data.format", "uint16"}));
  EXPECT_TRUE(holds(complaint(llmc(20240520, 1, 3).substr(0, 1000)),
                    {"length", "1024 bytes or more", "got 1000"}));
  EXPECT_TRUE(holds(complaint(llmc(20240520, 1, 3) + packed<std::uint16_t>({1, 300, 299})),
                    {"a.bin", "token 1", "below 300", "got 300", "data.tokenizer", "any"}));
  EXPECT_TRUE(
      holds(complaint(llmc(20240801, 7, 2) + packed<std::uint32_t>({1, -1})), {"4294967295"}));
}

TEST_F(Formats, ReadsLlmqFiles) {
  const Tokens tokens{1, 2, 299, 3, 299};
  const auto path = scratch.file("a.bin", llmq(2, 4, 5, 300, 0) + packed<std::uint32_t>(tokens));
  const auto source = open_tokens(path, tokenizer);
  EXPECT_EQ(contents(*source), tokens);
  EXPECT_EQ(source->documents(), 2);
}

TEST_F(Formats, RefusesUnsoundLlmqFilesByName) {
  const std::string body = packed<std::uint32_t>({1, 2});
  EXPECT_TRUE(holds(complaint(llmq(1, 4, 2, 300, 0) + body), {"version", "expected 2", "got 1"}));
  EXPECT_TRUE(holds(complaint(llmq(2 << 24, 4, 2, 300, 0) + body), {"version", "byte order"}));
  EXPECT_TRUE(holds(complaint(llmq(2, 8, 2, 300, 0) + body), {"bytes per token", "got 8"}));
  EXPECT_TRUE(holds(complaint(llmq(2, 4, 3, 300, 0) + body), {"token count", "got 3"}));
  EXPECT_TRUE(holds(complaint(llmq(2, 4, 2, 301, 0) + body), {"vocab_size", "got 301", "any"}));
  EXPECT_TRUE(holds(complaint(llmq(2, 4, 2, 300, 1) + body), {"masks", "got 1", "fine-tuning"}));
  EXPECT_TRUE(holds(complaint(llmq(2, 4, 1, 300, 0) + packed<std::uint32_t>({300})),
                    {"token 0", "below 300"}));
  EXPECT_TRUE(holds(complaint("BIN.TOK\n"), {"length", "1024", "got 8"}));
  EXPECT_TRUE(holds(complaint("BIN.TIK\n", config::DataFormat::llmq), {"length"}));
  EXPECT_TRUE(holds(complaint("BIN.TIK\n" + std::string(2000, 'x'), config::DataFormat::llmq),
                    {"magic", "BIN.TOK", "BIN.TIK"}));
}

TEST_F(Formats, RefusesAnEmptyFileByName) {
  EXPECT_TRUE(holds(complaint(""), {"a.bin", "magic"}));
  EXPECT_TRUE(holds(complaint("", config::DataFormat::automatic, "a.tok"), {"a.tok"}));
}

TEST_F(Formats, ReadsBareIdsWhenAsked) {
  const std::string body = packed<std::uint16_t>({5, 299, 6});
  EXPECT_TRUE(holds(complaint(body), {"a.bin", "magic", "data.format"}));
  const auto source =
      open_tokens(scratch.file("a.bin", body), tokenizer, config::DataFormat::uint16);
  EXPECT_EQ(contents(*source), (Tokens{5, 299, 6}));
  EXPECT_EQ(source->documents(), 2);
  EXPECT_TRUE(
      holds(complaint(body + "x", config::DataFormat::uint16), {"length", "even", "got 7"}));
  EXPECT_TRUE(holds(complaint("", config::DataFormat::uint16), {"token count", "at least 1"}));
  EXPECT_TRUE(holds(complaint(packed<std::uint16_t>({300}), config::DataFormat::uint16),
                    {"token 0", "below 300"}));
}

TEST_F(Formats, ReadsMegatronAndEndsItsDocuments) {
  // Documents {1 2 | 3}, {4 EOD}, {5}: the first has two sequences, only the second has its EOD.
  const Tokens tokens{1, 2, 3, 4, 299, 5};
  for (const bool wide : {false, true}) {
    const std::int64_t width = wide ? 4 : 2;
    const Index index{.type = static_cast<std::uint8_t>(wide ? 4 : 8),
                      .lengths = {2, 1, 2, 1},
                      .begins = {0, 2 * width, 3 * width, 5 * width},
                      .documents = {0, 2, 3, 4}};
    scratch.file("m.idx", index.bytes());
    const auto path =
        scratch.file("m.bin", wide ? packed<std::uint32_t>(tokens) : packed<std::uint16_t>(tokens));
    const auto source = open_tokens(path, tokenizer);
    const Tokens expected{1, 2, 3, 299, 4, 299, 5, 299};
    EXPECT_EQ(contents(*source), expected);
    EXPECT_EQ(source->documents(), 3);
    for (std::size_t first = 0; first < expected.size(); ++first) {
      for (std::size_t count = 1; first + count <= expected.size(); ++count) {
        Tokens part(count);
        source->read(static_cast<std::int64_t>(first), part);
        const auto begin = expected.begin() + static_cast<std::ptrdiff_t>(first);
        EXPECT_EQ(part, Tokens(begin, begin + static_cast<std::ptrdiff_t>(count)));
      }
    }
  }
}

TEST_F(Formats, RefusesUnsoundMegatronPairsByName) {
  const Index sound{.lengths = {2, 1}, .begins = {0, 4}, .documents = {0, 1, 2}};
  const auto complain = [&](const std::string& index, const Tokens& tokens = {1, 2, 3}) {
    scratch.file("m.idx", index);
    return complaint(packed<std::uint16_t>(tokens), config::DataFormat::automatic, "m.bin");
  };
  const auto changed = [&](auto change) {
    Index index = sound;
    change(index);
    return complain(index.bytes());
  };
  EXPECT_EQ(complain(sound.bytes()), "");
  EXPECT_TRUE(holds(changed([](Index& i) { i.magic[0] = 'N'; }), {"m.idx", "magic", "MMIDIDX"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.version = std::uint64_t{1} << 56; }),
                    {"version", "byte order"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.version = 2; }), {"version", "got 2"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.type = 6; }), {"type", "int32", "got 6"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.begins[1] = 2; }), {"sequence 1", "byte 4", "got 2"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.lengths[0] = -2; }), {"sequence 0", "-2 ids"}));
  EXPECT_TRUE(holds(changed([](Index& i) { i.documents[1] = 3; }), {"document index"}));
  EXPECT_TRUE(holds(complain(Index{}.bytes(), {}), {"m.idx", "document index", "0 .. 0"}));
  EXPECT_TRUE(holds(complain(sound.bytes().substr(0, 60)), {"m.idx", "cut short"}));
  EXPECT_TRUE(holds(complain(sound.bytes(), {1, 2}), {"m.bin", "length", "6 bytes", "got 4"}));
  EXPECT_TRUE(holds(complain(sound.bytes(), {1, 300, 2}), {"m.bin", "token 1", "below 300"}));
  std::string huge = sound.bytes();
  const std::uint64_t count = ~std::uint64_t{0} / 2;
  std::memcpy(huge.data() + 18, &count, sizeof count);
  EXPECT_TRUE(holds(complain(huge), {"sequence lengths", "at most", std::to_string(count)}));
}

TEST_F(Formats, SeveralFilesReadAsOne) {
  std::vector<std::unique_ptr<TokenSource>> parts;
  for (const Tokens& tokens : {Tokens{1, 299}, Tokens{2}, Tokens{3, 299, 4, 299}}) {
    parts.push_back(std::make_unique<MemorySource>(tokens, 299));
  }
  const JoinedSource joined(std::move(parts));
  EXPECT_EQ(contents(joined), (Tokens{1, 299, 2, 3, 299, 4, 299}));
  EXPECT_EQ(joined.documents(), 3);
  Tokens middle(3);
  joined.read(1, middle);
  EXPECT_EQ(middle, (Tokens{299, 2, 3}));
  EXPECT_THROW(joined.read(5, middle), std::out_of_range);
}

}  // namespace
}  // namespace strait::input
