#include "input/text/tokenize_job.h"

#include <algorithm>

#include "core/files.h"
#include "input/open_tokens.h"
#include "input/token_shard.h"
#include "tests/input/refusal.h"
#include "tests/input/vocabulary.h"

namespace strait::input {
namespace {

namespace fs = std::filesystem;
using strait::test::holds;
using strait::test::input_error;
using Tokens = std::vector<std::int32_t>;

struct TokenizeJob : testing::Test {
  TokenizeJob() {
    std::string lines;
    for (int i = 0; i < 400; ++i) {
      // Three topics, so that mixpr has something to bring together.
      const char* topic = i % 3 == 0   ? "whales sea ship"
                          : i % 3 == 1 ? "kernel cache warp"
                                       : "rose";
      const std::string text = "document " + std::to_string(i) + " of " + topic + " " + topic +
                               std::string(static_cast<std::size_t>(i % 50), 'x');
      texts.push_back(text);
      lines += "{\"text\": \"" + text + "\"}\n";
    }
    scratch.file("a.jsonl", lines);
  }

  TokenizeOptions options(const std::string& output) const {
    return {.inputs = {scratch / "a.jsonl"},
            .output = scratch / output,
            .shard_tokens = 3000,
            .threads = 3,
            .order = {.window_bytes = 500},
            .part_bytes = 9000};
  }

  static TokenizeManifest run(const TokenizeOptions& options) {
    return tokenize(options, [](auto&) {});
  }

  /// Documents of all shards, as text.
  std::vector<std::string> documents(const std::vector<std::string>& shards) const {
    const auto tokenizer = make_tokenizer("bytes");
    std::vector<std::string> out;
    for (const std::string& shard : shards) {
      Tokens document;
      for (const std::int32_t token : test::contents(*open_tokens(scratch / shard, *tokenizer))) {
        if (token != tokenizer->eod()) {
          document.push_back(token);
          continue;
        }
        out.push_back(tokenizer->decode(document));
        document.clear();
      }
      if (!document.empty()) out.push_back(tokenizer->decode(document));
    }
    return out;
  }

  strait::test::TempFolder scratch;
  std::vector<std::string> texts;
};

TEST_F(TokenizeJob, RoundTripsInOrderAndCounts) {
  const TokenizeManifest manifest = run(options("out"));
  EXPECT_TRUE(manifest.complete);
  EXPECT_GT(manifest.shards.size(), 3u);
  EXPECT_EQ(documents(manifest.shards), texts);
  std::int64_t bytes = 0;
  for (const std::string& text : texts) bytes += std::ssize(text);
  EXPECT_EQ(manifest.statistics.documents, 400);
  EXPECT_EQ(manifest.statistics.bytes, bytes);
  EXPECT_EQ(manifest.statistics.tokens, bytes + 400);
  std::int64_t histogram = 0;
  for (const std::int64_t count : manifest.statistics.lengths) histogram += count;
  EXPECT_EQ(histogram, 400);
  EXPECT_EQ(*read_manifest(scratch / "out.json"), manifest);
}

TEST_F(TokenizeJob, WritesLlmcShards) {
  TokenizeOptions llmc = options("out");
  llmc.format = config::DataFormat::llmc;
  const TokenizeManifest manifest = run(llmc);
  EXPECT_EQ(manifest.shards.front(), "out-00000.bin");
  std::vector<std::string> found = documents(manifest.shards);
  std::erase(found, "");  // the EOD before the first document of a shard
  EXPECT_EQ(found, texts);
}

TEST_F(TokenizeJob, HoldsOutEveryNthDocument) {
  TokenizeOptions held = options("out");
  held.holdout = 10;
  const TokenizeManifest manifest = run(held);
  std::vector<std::string> rest, ninths;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    ((i + 1) % 10 == 0 ? ninths : rest).push_back(texts[i]);
  }
  EXPECT_EQ(documents(manifest.shards), rest);
  EXPECT_EQ(documents(manifest.held_out), ninths);
  EXPECT_EQ(manifest.shards.front(), "out-train-00000.tok");
  EXPECT_EQ(manifest.held_out.front(), "out-val-00000.tok");
}

TEST_F(TokenizeJob, GoesOnAfterItsLastShardAndEndsInTheSameBytes) {
  for (const bool mixpr : {false, true}) {
    TokenizeOptions whole = options(mixpr ? "whole_m" : "whole");
    whole.mixpr = mixpr;
    whole.holdout = 7;
    const TokenizeManifest want = run(whole);
    for (std::size_t kept = 0; kept + 1 < want.shards.size(); ++kept) {
      TokenizeOptions stopped = whole;
      stopped.output = scratch / std::string(mixpr ? "m" : "g").append(std::to_string(kept));
      std::size_t shards = 0;
      const auto stop = [&](const TokenizeProgress&) {
        if (shards++ == kept) throw std::runtime_error("stopped");
      };
      EXPECT_THROW(tokenize(stopped, stop), std::runtime_error);
      EXPECT_EQ(read_manifest(stopped.output.string() + ".json")->shards.size(), kept + 1);
      const TokenizeManifest got = run(stopped);
      ASSERT_EQ(got.shards.size(), want.shards.size());
      EXPECT_EQ(got.statistics, want.statistics);
      for (std::size_t i = 0; i < got.shards.size(); ++i) {
        EXPECT_EQ(core::read_file(scratch / got.shards[i]),
                  core::read_file(scratch / want.shards[i]));
      }
    }
  }
}

TEST_F(TokenizeJob, DoesNotRepeatACompleteJobNorMixTwo) {
  const TokenizeOptions first = options("out");
  run(first);
  const auto written = fs::last_write_time(scratch / "out-00000.tok");
  EXPECT_TRUE(run(first).complete);
  EXPECT_EQ(fs::last_write_time(scratch / "out-00000.tok"), written);
  TokenizeOptions other = first;
  other.shard_tokens = 5000;
  EXPECT_TRUE(holds(input_error([&] { run(other); }),
                    {"out.json", "other settings", "shard tokens: 3000", "shard tokens: 5000"}));
  scratch.file("out.json", "{}");
  EXPECT_TRUE(holds(input_error([&] { run(first); }), {"out.json", "not what ./tokenize writes"}));
}

TEST_F(TokenizeJob, MixprPlacesEveryDocumentOnce) {
  TokenizeOptions mixed = options("out");
  mixed.mixpr = true;
  std::vector<std::string> found = documents(run(mixed).shards);
  EXPECT_NE(found, texts);
  std::ranges::sort(found);
  std::ranges::sort(texts);
  EXPECT_EQ(found, texts);
}

TEST_F(TokenizeJob, StopsAtTheFirstBadDocument) {
  scratch.file("b.jsonl", "{\"text\": \"a\"}\n{}\n");
  TokenizeOptions bad = options("out");
  bad.inputs = {scratch / "b.jsonl"};
  EXPECT_TRUE(holds(input_error([&] { run(bad); }), {"b.jsonl:2"}));
  EXPECT_FALSE(fs::exists(scratch / "out-00000.tok"));
  bad.inputs = {scratch.file("empty.txt", "")};
  EXPECT_TRUE(holds(input_error([&] { run(bad); }), {"no document"}));
}

}  // namespace
}  // namespace strait::input
