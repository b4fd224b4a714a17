#include "input/text_source.h"

#include "input/dataset.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using Documents = std::vector<std::string>;

Documents split(std::string_view text) {
  Documents out;
  for_each_document(text, [&](std::string_view document) { out.emplace_back(document); });
  return out;
}

TEST(ForEachDocument, SplitsAtSeparatorLines) {
  EXPECT_EQ(split("a\nb\n<|endoftext|>\nc\n"), (Documents{"a\nb", "c"}));
  EXPECT_EQ(split("a\n<|endoftext|>\nb\n<|endoftext|>"), (Documents{"a", "b"}));
  EXPECT_EQ(split("a\n\nb\n"), (Documents{"a\n\nb"}));
}

TEST(ForEachDocument, WithoutSeparatorIsOneDocument) {
  EXPECT_EQ(split("one line"), (Documents{"one line"}));
  EXPECT_EQ(split("two\nlines"), (Documents{"two\nlines"}));
}

TEST(ForEachDocument, SeparatorInsideALineIsText) {
  EXPECT_EQ(split("a <|endoftext|>\n<|endoftext|> b\n"),
            (Documents{"a <|endoftext|>\n<|endoftext|> b"}));
}

TEST(ForEachDocument, EmptyDocumentsAreSkipped) {
  EXPECT_EQ(split("<|endoftext|>\n<|endoftext|>\na\n<|endoftext|>\n\n\n<|endoftext|>\nb"),
            (Documents{"a", "b"}));
  EXPECT_EQ(split(""), Documents{});
  EXPECT_EQ(split("\n\n"), Documents{});
}

TEST(ForEachDocument, CarriageReturnsBeforeLineBreaksAreDropped) {
  EXPECT_EQ(split("a\r\nb\r\n<|endoftext|>\r\nc\rd\r\n"), (Documents{"a\nb", "c\rd"}));
}

TEST(ReadTextSource, EndsEveryDocumentWithEod) {
  const test::TempFolder scratch;
  const auto tokenizer = make_tokenizer("bytes");
  const auto source =
      read_text_source(scratch.file("a.txt", "hi\n<|endoftext|>\n\xff\n"), *tokenizer);
  ASSERT_EQ(source->size(), 5);
  EXPECT_EQ(source->documents(), 2);
  std::vector<std::int32_t> tokens(5);
  source->read(0, tokens);
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{'h', 'i', 256, 255, 256}));
}

TEST(ReadTextSource, SaysWhatIsWrongWithAFile) {
  const test::TempFolder scratch;
  const auto tokenizer = make_tokenizer("bytes");
  auto complaint = [&](const std::filesystem::path& path) {
    return test::input_error([&] { read_text_source(path, *tokenizer); });
  };
  EXPECT_TRUE(test::holds(complaint(scratch.file("empty.txt", "")), {"empty.txt", "no text"}));
  EXPECT_TRUE(test::holds(complaint(scratch.file("only.txt", "<|endoftext|>\n")), {"no text"}));
  EXPECT_TRUE(test::holds(complaint(scratch / "absent.txt"), {"absent.txt"}));
  EXPECT_TRUE(test::holds(complaint(scratch.path()), {"folder"}));
}

TEST(Sample, IsEightWorksOfWhichTheLastIsHeldOut) {
  const auto tokenizer = make_tokenizer("bytes");
  const Dataset data({.train = std::string(STRAIT_SOURCE_DIR) + "/data/sample.txt"}, *tokenizer, 1,
                     257);
  EXPECT_EQ(data.train()[0].tokens.documents, 7);
  EXPECT_EQ(data.validation()[0].tokens.documents, 1);
  std::vector<std::int32_t> opening(36);
  data.validation()[0].tokens.read(0, opening);
  EXPECT_EQ(tokenizer->decode(opening), "The Adventure of the Norwood Builder");
}

}  // namespace
}  // namespace strait::input
