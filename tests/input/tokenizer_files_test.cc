#include "input/tokenizer_files.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "core/rng.h"
#include "input/text/train_sentencepiece.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using strait::test::holds;
using strait::test::input_error;
using Ids = std::vector<std::int32_t>;

/// Text that breaks careless tokenizers.
std::vector<std::string> hostile_texts() {
  return {"",
          " ",
          "\n",
          "  leading and trailing  ",
          "tab\tand\r\nbreaks\n\n\n",
          "hello hell he",
          "\U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F1E9\U0001F1EA",
          "e\u0301 \u00e9 \u1e9b\u0323 \ufb01",
          "\u202eright to left\u202c \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
          std::string("nul\0inside", 10),
          "\u2028\u2029\u0085\u00a0\u3000\ufeff",
          "\U0010FFFF \ufffd \ue000",
          "<|endoftext|> </s> <s> [MASK]",
          "0123456789 3.14e-10",
          "\u4e2d\u6587\u6df7\u5408 English \u65e5\u672c\u8a9e",
          std::string(5000, 'a')};
}

std::int64_t bytes_in(const Tokenizer& tokenizer, const Ids& ids) {
  std::int64_t bytes = 0;
  for (const std::int32_t id : ids) bytes += tokenizer.bytes_of(id);
  return bytes;
}

/// GPT-2's stand-in for a byte, as UTF-8.
std::string letter(int byte) {
  const auto shown = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b != 173); };
  int point = byte;
  if (!shown(byte)) {
    point = 256;
    for (int b = 0; b < byte; ++b) point += !shown(b);
  }
  if (point < 128) return {static_cast<char>(point)};
  return {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
}

std::string quoted_json(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

/// A byte-level BPE of the 256 bytes, "he", "hel", "hell" and the end of a document, 259.
struct TinyBpe {
  TinyBpe() {
    std::string vocab;
    for (int byte = 0; byte < 256; ++byte) {
      vocab += quoted_json(letter(byte)) + ": " + std::to_string(byte) + ", ";
    }
    vocab += R"("he": 256, "hel": 257, "hell": 258)";
    scratch.file("vocab.json", "{" + vocab + R"(, "<|endoftext|>": 259})");
    scratch.file("merges.txt", "#version: 0.2\nh e\nhe l\nhel l\n");
    const std::string level = R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": )"
                              R"(true, "use_regex": true})";
    scratch.file(
        "tokenizer.json",
        R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": )"
        R"(259, "content": "<|endoftext|>", "single_word": false, "lstrip": false, )"
        R"("rstrip": false, "normalized": false, "special": true}], "normalizer": null, )"
        R"("pre_tokenizer": )" +
            level + R"(, "post_processor": null, "decoder": )" + level +
            R"(, "model": {"type": "BPE", "dropout": null, "unk_token": null, )"
            R"("continuing_subword_prefix": null, "end_of_word_suffix": null, )"
            R"("fuse_unk": false, "byte_fallback": false, "vocab": {)" +
            vocab + R"(}, "merges": ["h e", "he l", "hel l"]}})");
  }
  strait::test::TempFolder scratch;
};

bool has_tokenizers() {
  const std::string command =
      "'" STRAIT_SOURCE_DIR "/scripts/python_with.sh' tokenizers > /dev/null 2>&1";
  return std::system(command.c_str()) == 0;
}

TEST(HfTokenizer, TheVocabularyNeedsNoPython) {
  const TinyBpe tiny;
  for (const char* file : {"tokenizer.json", "."}) {
    const auto tokenizer = make_tokenizer((tiny.scratch / file).string());
    EXPECT_EQ(tokenizer->vocab_size(), 260);
    EXPECT_EQ(tokenizer->eod(), 259);
    EXPECT_TRUE(tokenizer->name().starts_with("hf-"));
    EXPECT_EQ(tokenizer->name().size(), 19u);
    Ids all(260);
    for (int id = 0; id < 260; ++id) all[static_cast<std::size_t>(id)] = id;
    std::string text;
    for (int byte = 0; byte < 256; ++byte) text.push_back(static_cast<char>(byte));
    EXPECT_EQ(tokenizer->decode(all), text + "hehelhell");
    EXPECT_EQ(tokenizer->bytes_of(258), 4);
    EXPECT_EQ(tokenizer->bytes_of(259), 0);
    EXPECT_THROW(tokenizer->decode(Ids{260}), std::out_of_range);
    EXPECT_THROW(tokenizer->bytes_of(-1), std::out_of_range);
  }
}

TEST(HfTokenizer, MarksOfSentencePieceAreSpacesAndBytes) {
  const strait::test::TempFolder scratch;
  const auto path = scratch.file(
      "tokenizer.json",
      R"({"added_tokens": [{"id": 3, "content": "<extra>", "special": false}], "model": {"vocab":)"
      "{\"\u2581a\u2581\": 0, \"<0x0A>\": 1, \"</s>\": 2}}}");
  const auto tokenizer = make_tokenizer(path.string());
  EXPECT_EQ(tokenizer->decode(Ids{0, 1, 2, 3}), " a \n<extra>");
  EXPECT_EQ(tokenizer->eod(), 2);
  scratch.file("tokenizer_config.json", R"({"eos_token": {"content": "<extra>"}})");
  EXPECT_EQ(make_tokenizer(path.string())->eod(), 3);
}

TEST(HfTokenizer, NamesWhatIsWrongWithItsFiles) {
  const strait::test::TempFolder scratch;
  const auto complaint = [&](const std::string& json) {
    return input_error([&] { make_tokenizer(scratch.file("t.json", json).string()); });
  };
  EXPECT_TRUE(holds(complaint("{"), {"t.json", "is not JSON"}));
  EXPECT_TRUE(holds(complaint("{}"), {"t.json", "\"model\""}));
  EXPECT_TRUE(holds(complaint(R"({"model": {"vocab": {}}})"), {"t.json", "vocabulary"}));
  EXPECT_TRUE(holds(complaint(R"({"model": {"vocab": {"a": "b"}}})"), {"t.json", "integer ids"}));
  EXPECT_TRUE(holds(complaint(R"({"model": {"vocab": {"a": -1, "</s>": 1}}})"), {"id -1"}));
  EXPECT_TRUE(holds(complaint(R"({"model": {"vocab": {"a": 99999999999}}})"), {"id 99999999999"}));
  EXPECT_TRUE(holds(complaint(R"({"model": {"vocab": {"a": 0}}})"),
                    {"ends documents", "<|endoftext|>", "tokenizer_config.json"}));
  EXPECT_TRUE(holds(input_error([&] { make_tokenizer((scratch / "none").string()); }),
                    {"unknown tokenizer", "none", "bytes", ".model"}));
}

TEST(HfTokenizer, EncodesAsTheLibraryDoes) {
  if (!has_tokenizers()) GTEST_SKIP() << "no Python with the tokenizers library";
  const TinyBpe tiny;
  for (const char* file : {"tokenizer.json", "."}) {
    const auto tokenizer = make_tokenizer((tiny.scratch / file).string());
    EXPECT_EQ(tokenizer->encode("hello hell he"), (Ids{258, 'o', ' ', 258, ' ', 256}));
    for (const std::string& text : hostile_texts()) {
      const Ids ids = tokenizer->encode(text);
      EXPECT_EQ(tokenizer->decode(ids), text);
      EXPECT_EQ(std::ranges::count(ids, tokenizer->eod()), 0);
      EXPECT_EQ(bytes_in(*tokenizer, ids), std::ssize(text));
    }
    EXPECT_TRUE(holds(input_error([&] { tokenizer->encode("a\xff"); }), {"not UTF-8"}));
    EXPECT_EQ(tokenizer->encode("he"), Ids{256});  // and goes on
  }
}

TEST(HfTokenizer, ThreadsEncodeAtOnce) {
  if (!has_tokenizers()) GTEST_SKIP() << "no Python with the tokenizers library";
  const TinyBpe tiny;
  const auto tokenizer = make_tokenizer(tiny.scratch.path().string());
  std::vector<std::string> wrong(3);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::string text = "hell " + std::to_string(t * 1000 + static_cast<std::size_t>(i));
        if (tokenizer->decode(tokenizer->encode(text)) != text) wrong[t] = text;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<std::string>(3));
}

TEST(SentencePiece, TrainsEncodesAndLosesNothing) {
  const strait::test::TempFolder scratch;
  const auto model = scratch / "small.model";
  train_sentencepiece({.inputs = {std::string(STRAIT_SOURCE_DIR) + "/data/sample.txt"},
                       .output = model,
                       .vocab_size = 800,
                       .bytes = 300000});
  const auto tokenizer = make_tokenizer(model.string());
  EXPECT_EQ(tokenizer->vocab_size(), 800);
  EXPECT_EQ(tokenizer->eod(), 2);
  EXPECT_TRUE(tokenizer->name().starts_with("spm-"));
  const std::string english = "The Adventure of the Norwood Builder.\nIt was a bright morning.";
  EXPECT_LT(std::ssize(tokenizer->encode(english)), std::ssize(english) / 2);
  std::vector<std::string> texts = hostile_texts();
  texts.push_back(english);
  for (const std::string& text : texts) {
    const Ids ids = tokenizer->encode(text);
    EXPECT_EQ(tokenizer->decode(ids), text);
    EXPECT_EQ(std::ranges::count(ids, tokenizer->eod()), 0) << text;
    EXPECT_EQ(bytes_in(*tokenizer, ids), std::ssize(text));
  }
  EXPECT_TRUE(holds(input_error([&] { make_tokenizer(scratch.file("bad.model", "x").string()); }),
                    {"bad.model", "is not a SentencePiece model"}));
}

TEST(SentencePiece, NamesAVocabularyTheTextCannotFill) {
  const strait::test::TempFolder scratch;
  EXPECT_TRUE(holds(input_error([&] {
                      train_sentencepiece({.inputs = {scratch.file("a.txt", "few words")},
                                           .output = scratch / "m.model",
                                           .vocab_size = 5000});
                    }),
                    {"SentencePiece"}));
  EXPECT_FALSE(std::filesystem::exists(scratch / "m.model"));
}

}  // namespace
}  // namespace strait::input
