#include <gtest/gtest.h>

#include "input/token_shard.h"
#include "tests/train/program.h"

// A run on several datasets: what it reports of them, and that it goes on where it stopped.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

const std::string kSmall =
    "--config tiny_ccgqa --set model.n_layers=1 --set data.seq_len=48 --set train.batch_size=8"
    " --set train.steps=20 --set optim.warmup_steps=3 --set checkpoint.every=10"
    " --set precision.compute=f64 --set data.packing=best_fit";

/// Shards of the lines of the sample corpus: even lines in one, odd ones in the other.
fs::path make_shards(const fs::path& folder) {
  const auto tokenizer = input::make_tokenizer("bytes");
  input::TokenShardWriter even(folder / "even.tok", *tokenizer);
  input::TokenShardWriter odd(folder / "odd.bin", *tokenizer, config::DataFormat::llmc);
  const std::string text = read_text(std::string(STRAIT_SOURCE_DIR) + "/data/sample.txt");
  std::size_t line = 0;
  for (std::size_t begin = 0; line < 400; ++line) {
    const std::size_t end = text.find('\n', begin);
    const auto tokens = tokenizer->encode(text.substr(begin, end - begin));
    (line % 2 == 0 ? even : odd).append(tokens);
    begin = end + 1;
  }
  even.finish();
  odd.finish();
  return folder;
}

std::string train_on(const fs::path& shards, const fs::path& run) {
  return kSmall + " --set run.dir=" + run.string() +
         " --set data.val_documents=3 --set \"data.train=" + (shards / "ev*.tok").string() +
         "=0.75, " + (shards / "odd.bin").string() + "=0.25\"";
}

TEST(Datasets, AreReportedApart) {
  const fs::path folder = make_shards(fresh_folder("datasets/report"));
  const Outcome outcome = run_train(train_on(folder, folder / "run"));
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const std::string metrics = read_text(folder / "run/metrics.jsonl");
  for (const char* part :
       {"\"event\": \"data\"", "\"name\": \"ev*\", \"share\": 0.75",
        "\"name\": \"odd\", \"share\": 0.25", "\"epochs\": ", "\"by_position\": [{\"from\": 0",
        "\"datasets\": [{\"name\": \"ev*\", \"loss\": "}) {
    EXPECT_NE(metrics.find(part), std::string::npos) << part << " is not in " << metrics;
  }
  EXPECT_NE(outcome.output.find("validation on odd"), std::string::npos) << outcome.output;
}

TEST(Datasets, ResumeOnTwoRanksOfFourEqualsNeverStopping) {
  const fs::path folder = make_shards(fresh_folder("datasets/resume"));
  const fs::path whole = folder / "whole", died = folder / "died";
  ASSERT_EQ(run_train(train_on(folder, whole), 4).code, 0);
  fs::copy(whole, died, fs::copy_options::recursive);
  fs::remove_all(died / "checkpoints/step_00000020");
  const Outcome outcome = run_train("--resume " + died.string(), 2);
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("after step 10"), std::string::npos) << outcome.output;
  for (const char* key : {"loss", "val_loss"}) {
    const auto want = series(whole, key), got = series(died, key);
    ASSERT_FALSE(want.empty());
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12 * want[i]);
  }
}

TEST(Datasets, AResumedRunMustFindItsTokensAgain) {
  const fs::path folder = make_shards(fresh_folder("datasets/fingerprint"));
  const fs::path run = folder / "run";
  ASSERT_EQ(run_train(train_on(folder, run)).code, 0);
  const std::string on = "--resume " + run.string() + " --set train.steps=22";
  // Their files may move.
  fs::rename(folder / "even.tok", folder / "moved.tok");
  const std::string moved = " --set \"data.train=" + (folder / "moved.tok").string() + "=0.75, " +
                            (folder / "odd.bin").string() + "=";
  const Outcome same = run_train(on + moved + "0.25\"");
  EXPECT_EQ(same.code, 0) << same.output;
  const Outcome other = run_train(on + moved + "0.5\" --set train.steps=24");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.output.find("fingerprint"), std::string::npos) << other.output;
}

}  // namespace
}  // namespace strait::test
