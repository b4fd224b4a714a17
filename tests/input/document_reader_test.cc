#include "input/text/document_reader.h"

#include <lzma.h>
#include <zstd.h>

#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using strait::test::holds;
using strait::test::input_error;
using Texts = std::vector<std::string>;

std::string xz(const std::string& bytes) {
  std::string out(lzma_stream_buffer_bound(bytes.size()), '\0');
  std::size_t length = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(
                6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                bytes.size(), reinterpret_cast<std::uint8_t*>(out.data()), &length, out.size()),
            LZMA_OK);
  return out.substr(0, length);
}

std::string zst(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

Texts read(const std::vector<std::filesystem::path>& files, const std::string& key = "text") {
  DocumentReader reader(files);
  Texts out;
  for (RawDocument raw; reader.next(raw);) out.push_back(text_of(raw, key));
  EXPECT_EQ(reader.consumed(), reader.total());
  return out;
}

/// Lines of JSON whose texts are longer than any buffer of the reader, together.
std::string many_lines(Texts& texts) {
  std::string lines;
  for (int i = 0; i < 3000; ++i) {
    texts.push_back("document " + std::to_string(i) +
                    std::string(static_cast<std::size_t>(i), 'x'));
    lines += "{\"id\": " + std::to_string(i) + ", \"text\": \"" + texts.back() + "\"}\n";
  }
  return lines;
}

TEST(DocumentReader, ReadsPlainAndCompressedLines) {
  const strait::test::TempFolder scratch;
  Texts texts;
  const std::string lines = many_lines(texts);
  EXPECT_EQ(read({scratch.file("a.jsonl", lines)}), texts);
  EXPECT_EQ(read({scratch.file("a.jsonl.xz", xz(lines))}), texts);
  EXPECT_EQ(read({scratch.file("a.jsonl.zst", zst(lines))}), texts);
  // Files may hold several compressed streams, as parallel compressors write them.
  const std::string half = lines.substr(0, lines.size() / 2), rest = lines.substr(lines.size() / 2);
  EXPECT_EQ(read({scratch.file("b.jsonl.xz", xz(half) + xz(rest))}), texts);
  EXPECT_EQ(read({scratch.file("b.jsonl.zst", zst(half) + zst(rest))}), texts);
}

TEST(DocumentReader, JsonTextIsDecoded) {
  const strait::test::TempFolder scratch;
  const auto path =
      scratch.file("a.jsonl",
                   "{\"text\": \"a\\n\\u00e9\\ud83d\\ude00\\\"\", \"n\": [1, {\"text\": \"no\"}]}\n"
                   "\n  \n{\"meta\": {\"text\": \"no\"}, \"text\": \"b\"}\r\n{\"text\":\"last\"}");
  EXPECT_EQ(read({path}), (Texts{"a\n\u00e9\U0001F600\"", "b", "last"}));
  EXPECT_EQ(read({scratch.file("c.ndjson", "{\"content\": \"c\"}\n")}, "content"), Texts{"c"});
}

TEST(DocumentReader, TextFilesHoldDocumentsBetweenSeparators) {
  const strait::test::TempFolder scratch;
  const auto path =
      scratch.file("a.txt", "one\n\nstill one\n<|endoftext|>\n\n<|endoftext|>\r\ntwo\r\nend");
  EXPECT_EQ(read({path}), (Texts{"one\n\nstill one", "two\nend"}));
  EXPECT_EQ(read({scratch.file("b.txt.zst", zst("x\n<|endoftext|>\n")), path}),
            (Texts{"x", "one\n\nstill one", "two\nend"}));
  EXPECT_EQ(read({scratch.file("empty.txt", "")}), Texts{});
}

TEST(DocumentReader, NamesWhatIsWrong) {
  const strait::test::TempFolder scratch;
  const auto complaint = [&](const char* name, const std::string& bytes) {
    return input_error([&] { read({scratch.file(name, bytes)}); });
  };
  EXPECT_TRUE(holds(complaint("a.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n"),
                    {"a.jsonl:2", "\"text\"", "--text-key"}));
  EXPECT_TRUE(holds(complaint("a.jsonl", "{\"text\": 5}\n"), {"a.jsonl:1", "lacks"}));
  EXPECT_TRUE(holds(complaint("a.jsonl", "{\"text\": \"a\n"),
                    {"a.jsonl:1", "invalid JSON at byte 12", "mend"}));
  EXPECT_TRUE(holds(complaint("a.jsonl", "[\"text\"]\n"), {"a.jsonl:1"}));
  EXPECT_TRUE(holds(complaint("a.jsonl", "{\"text\": \"\xff\"}\n"), {"a.jsonl:1", "UTF-8"}));
  EXPECT_TRUE(holds(complaint("a.jsonl", std::string(100000, '[') + "\n"), {"a.jsonl:1"}));
  EXPECT_TRUE(holds(complaint("a.parquet", "PAR1"), {"a.parquet", ".jsonl"}));
  Texts texts;
  const std::string lines = many_lines(texts);
  const std::string packed_xz = xz(lines), packed_zst = zst(lines);
  EXPECT_TRUE(holds(complaint("a.jsonl.xz", packed_xz.substr(0, packed_xz.size() / 2)),
                    {"a.jsonl.xz", "cut short"}));
  EXPECT_TRUE(holds(complaint("a.jsonl.zst", packed_zst.substr(0, packed_zst.size() / 2)),
                    {"a.jsonl.zst", "cut short"}));
  std::string damaged = packed_xz;
  damaged[damaged.size() / 2] ^= 1;
  EXPECT_TRUE(holds(complaint("a.jsonl.xz", damaged), {"a.jsonl.xz", "damaged"}));
  for (const char* name : {"a.txt.zst", "a.jsonl.xz"}) {
    EXPECT_TRUE(holds(complaint(name, "plain\n"), {name, "not compressed as its name says"}));
  }
  EXPECT_TRUE(holds(input_error([&] { read({scratch / "none.jsonl"}); }), {"none.jsonl"}));
}

TEST(TextFiles, OfAFolderAreThoseWithKnownNames) {
  const strait::test::TempFolder scratch;
  for (const char* name : {"b.jsonl.zst", "a.jsonl.xz", "c.txt", "README.md", "d.tok"}) {
    scratch.file(name, "");
  }
  const auto at = [&](const char* name) { return scratch / name; };
  EXPECT_EQ(text_files(scratch.path().string()),
            (std::vector{at("a.jsonl.xz"), at("b.jsonl.zst"), at("c.txt")}));
  EXPECT_EQ(text_files(at("?.jsonl.*").string()),
            (std::vector{at("a.jsonl.xz"), at("b.jsonl.zst")}));
  EXPECT_TRUE(holds(input_error([&] { text_files(at("none.txt").string()); }), {"none.txt"}));
}

}  // namespace
}  // namespace strait::input
