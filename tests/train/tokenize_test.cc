#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>

#include "tests/train/program.h"

// ./tokenize and scripts/prepare_corpus.sh as a user runs them.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

const std::string kProgram = STRAIT_BINARY_DIR "/bin/tokenize";

int exit_code(const std::string& command) {
  const int status = std::system((command + " > /dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The sample corpus as JSON lines, a paragraph each, `times` times.
std::string json_lines(int times) {
  const std::string sample = read_text(std::string(STRAIT_SOURCE_DIR) + "/data/sample.txt");
  std::string lines;
  for (std::size_t begin = 0; begin < sample.size();) {
    const std::size_t end = std::min(sample.find('\n', begin), sample.size());
    std::string text = sample.substr(begin, end - begin);
    for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) {
      text.insert(at, 1, '\\');
    }
    if (!text.empty()) lines.append("{\"text\": \"").append(text).append("\"}\n");
    begin = end + 1;
  }
  std::string out;
  for (int i = 0; i < times; ++i) out += lines;
  return out;
}

TEST(Tokenize, SurvivesKills) {
  const fs::path folder = fresh_folder("tokenize/kills");
  write_text(folder / "a.jsonl", json_lines(20));
  const auto command = [&](const std::string& prefix) {
    return kProgram + " --input " + (folder / "a.jsonl").string() + " --output " +
           (folder / prefix).string() + " --shard-tokens 1000000 --holdout 50 --threads 2";
  };
  ASSERT_EQ(exit_code(command("whole")), 0);
  // Every start has a little more time, until one of them ends.
  int kills = 0;
  for (double seconds = 0.05; exit_code(std::string("timeout -s KILL ") + std::to_string(seconds) +
                                        " " + command("killed")) != 0;
       seconds += 0.05) {
    ASSERT_LT(++kills, 400);
  }
  EXPECT_GT(kills, 0);
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("whole-")) continue;
    ++shards;
    EXPECT_TRUE(read_text(entry.path()) ==
                read_text(folder / (std::string("killed-") + name.substr(6))))
        << name;
  }
  EXPECT_GT(shards, 20);
}

TEST(Tokenize, RefusesByName) {
  const auto refused = [](const std::string& arguments, const std::string& word) {
    const Outcome outcome = run_program("tokenize", arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(word), std::string::npos) << outcome.output;
  };
  const std::string sample = "--input data/sample.txt --output /dev/null/x ";
  refused(sample, "/dev/null/x: its folder cannot be made");
  refused(sample + "--train-sentencepiece 300", "/dev/null/x: its folder cannot be made");
  refused("--input data/sample.txt --output out/", "--output out/: is a folder");
  refused("", "--input is missing");
  refused("--input data/sample.txt", "--output is missing");
  refused(sample + "--order random", "expected given or mixpr");
  refused(sample + "--holdout 1", "--holdout 1: expected a whole number from 2");
  refused(sample + "--order-random 1.5", "--order-random 1.5");
  refused(sample + "--tokenizer nowhere", "nowhere");
  refused("--input no_such_folder --output x", "no_such_folder");
}

TEST(PrepareCorpus, OneCommandMakesShardsThatTrain) {
  const fs::path folder = fresh_folder("tokenize/corpus");
  const std::string lines = json_lines(1);
  write_text(folder / "text/train-a.jsonl", lines.substr(0, lines.find('\n', 300000) + 1));
  write_text(folder / "text/val-a.jsonl", lines.substr(lines.rfind('\n', lines.size() - 9000) + 1));
  write_text(folder / "text/NOTICES.txt", "not a document");
  ASSERT_EQ(exit_code("STRAIT_TOKENIZE=" + kProgram +
                      " " STRAIT_SOURCE_DIR "/scripts/prepare_corpus.sh " +
                      (folder / "text").string() + " " + (folder / "out").string() + " 600"),
            0);
  const auto at = [&](const char* name) { return (folder / "out" / name).string(); };
  const Outcome outcome = run_train(
      "--config tiny_mha --set model.n_layers=1 --set train.steps=2 --set train.batch_size=2"
      " --set optim.warmup_steps=1 --set data.seq_len=64 --set eval.sequences=4"
      " --set data.train='" +
      at("train-*.tok") + "' --set data.val='" + at("val-a-*.tok") + "' --set data.tokenizer=" +
      at("spm-600.model") + " --set run.dir=" + (folder / "run").string());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_EQ(series(folder / "run", "val_bpb").size(), 1u);
  EXPECT_EQ(exit_code(STRAIT_SOURCE_DIR "/scripts/prepare_corpus.sh " + (folder / "none").string()),
            2);
}

}  // namespace
}  // namespace strait::test
