#include <gtest/gtest.h>

#include <cmath>

#include "tests/train/program.h"

// The same run on any number of ranks, twice, with recompute, and across a stop.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

// A model small enough for seconds, with every part of the real ones; microbatches and documents.
const std::string kSmall =
    " --set model.n_layers=2 --set data.seq_len=48 --set train.batch_size=8 --set train.steps=20"
    " --set optim.warmup_steps=3 --set eval.sequences=8 --set checkpoint.every=10";

fs::path run(const std::string& folder, const std::string& config, const std::string& extra,
             int ranks) {
  const fs::path path = fresh_folder("same_run/" + folder) / "run";
  const Outcome outcome = run_train(
      "--config " + config + kSmall + " --set run.dir=" + path.string() + " " + extra, ranks);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  return path;
}

const std::string kMuon = "--set optim.kind=muon";

void expect_bit_equal_runs(const fs::path& a, const fs::path& b) {
  for (const char* key : {"loss", "grad_norm", "val_loss"}) {
    const auto left = series(a, key), right = series(b, key);
    ASSERT_FALSE(left.empty()) << key;
    EXPECT_EQ(left, right) << key;
  }
  const auto left = checkpoint_tensors(a, 20), right = checkpoint_tensors(b, 20);
  ASSERT_FALSE(left.empty());
  for (const auto& [name, bytes] : left) {
    ASSERT_TRUE(right.contains(name)) << name;
    EXPECT_TRUE(bytes == right.at(name)) << name << " differs";
  }
  EXPECT_EQ(left.size(), right.size());
}

class EveryKind : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(SameRun, EveryKind,
                         ::testing::Values("tiny_mha", "tiny_gqa", "tiny_mla", "tiny_cca",
                                           "tiny_ccgqa", "tiny_mha_moe", "tiny_gqa_moe",
                                           "tiny_mla_moe", "tiny_cca_moe", "tiny_ccgqa_moe",
                                           "tiny_zaya"),
                         [](const auto& info) { return info.param; });

TEST_P(EveryKind, OneTwoAndFourRanksAgreeInDouble) {
  const std::string kind = GetParam(), doubles = "--set precision.compute=f64";
  const fs::path one = run(kind + "_n1", kind, doubles, 1);
  const auto want = series(one, "loss");
  ASSERT_EQ(want.size(), 20u);
  for (const int ranks : {2, 4}) {
    const auto got = series(run(kind + "_n" + std::to_string(ranks), kind, doubles, ranks), "loss");
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], 1e-12 * std::abs(want[i])) << ranks << " ranks, step " << i + 1;
    }
  }
}

TEST_P(EveryKind, RecomputeChangesNoBit) {
  const std::string kind = GetParam();
  const fs::path none = run(kind + "_none", kind, "", 0);
  for (const std::string policy : {"ffn", "block"}) {
    expect_bit_equal_runs(none,
                          run(kind + "_" + policy, kind, "--set train.recompute=" + policy, 0));
  }
}

TEST(SameRun, TwiceIsBitEqual) {
  for (const int ranks : {0, 2}) {
    const std::string tag = std::to_string(ranks);
    expect_bit_equal_runs(run("first" + tag, "tiny_ccgqa_moe", "", ranks),
                          run("second" + tag, "tiny_ccgqa_moe", "", ranks));
  }
}

TEST(SameRun, SumsBesideTheModelChangeNoBit) {
  const std::string kind = "tiny_ccgqa_moe", mesh = "--set train.micro_batch=1 ";
  const fs::path after = run("sums_after", kind, mesh + "--set parallel.overlap=false", 4);
  for (const std::string mib : {"0", "0.05", "32"}) {
    expect_bit_equal_runs(
        after, run("sums_beside_" + mib, kind, mesh + "--set parallel.bucket_mib=" + mib, 4));
  }
}

TEST(SameRun, AnotherSeedIsAnotherRun) {
  const auto a = series(run("seed1", "tiny_ccgqa_moe", "--set run.seed=1", 0), "loss");
  const auto b = series(run("seed2", "tiny_ccgqa_moe", "--set run.seed=2", 0), "loss");
  EXPECT_NE(a, b);
}

TEST(SameRun, MicroBatchesAddUpToTheBatch) {
  const std::string doubles = "--set precision.compute=f64";
  const auto whole = series(run("micro8", "tiny_ccgqa_moe", doubles, 0), "loss");
  const auto parts =
      series(run("micro2", "tiny_ccgqa_moe", doubles + " --set train.micro_batch=2", 0), "loss");
  ASSERT_EQ(whole.size(), parts.size());
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(whole[i], parts[i], 1e-12 * whole[i]);
}

/// A run as it was when it had saved step 10 and then died at some later moment.
fs::path died_after_ten(const fs::path& whole, const std::string& folder) {
  const fs::path path = fresh_folder("same_run/" + folder) / "run";
  fs::copy(whole, path, fs::copy_options::recursive);
  fs::remove_all(path / "checkpoints/step_00000020");
  const std::string metrics = read_text(path / "metrics.jsonl");
  write_text(path / "metrics.jsonl", metrics.substr(0, metrics.size() * 3 / 4));
  return path;
}

TEST(SameRun, ResumeIsBitEqualToNeverStopping) {
  // With a selection bias there is state beside weights and optimizer.
  const std::string biased =
      "--set model.ffn.moe.selection_bias=true --set model.ffn.moe.bias_rate=0.01";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"tiny_ccgqa_moe", biased}, {"tiny_mla", ""}, {"tiny_cca_moe", kMuon}};
  for (const auto& [kind, extra] : cases) {
    for (const int ranks : {0, 2}) {
      const std::string tag = kind + std::to_string(ranks);
      const fs::path whole = run("whole_" + tag, kind, extra, ranks);
      const fs::path died = died_after_ten(whole, "died_" + tag);
      const Outcome outcome = run_train("--resume " + died.string(), ranks);
      ASSERT_EQ(outcome.code, 0) << outcome.output;
      EXPECT_NE(outcome.output.find("after step 10"), std::string::npos) << outcome.output;
      ASSERT_EQ(series(died, "loss").size(), 20u);
      expect_bit_equal_runs(whole, died);
    }
  }
}

TEST(SameRun, MuonAgreesInDoubleOnAnyRanksAndMicroBatches) {
  const std::string kind = "tiny_ccgqa_moe", doubles = "--set precision.compute=f64 " + kMuon;
  const auto want = series(run("muon", kind, doubles, 0), "loss");
  ASSERT_EQ(want.size(), 20u);
  const auto micro =
                 series(run("muon_micro", kind, doubles + " --set train.micro_batch=2", 0), "loss"),
             ranks = series(run("muon_n4", kind, doubles, 4), "loss");
  ASSERT_EQ(micro.size(), want.size());
  ASSERT_EQ(ranks.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(micro[i], want[i], 1e-12 * want[i]);
    EXPECT_NEAR(ranks[i], want[i], 1e-12 * want[i]);
  }
}

TEST(SameRun, RecomputeChangesNoBitOfMuon) {
  const std::string kind = "tiny_ccgqa_moe";
  expect_bit_equal_runs(run("muon_none", kind, kMuon, 0),
                        run("muon_block", kind, kMuon + " --set train.recompute=block", 0));
}

TEST(SameRun, SavesNothingWhenAskedNotTo) {
  const fs::path path = run("unsaved", "tiny_mha", "--set checkpoint.every=-1", 0);
  EXPECT_EQ(series(path, "loss").size(), 20u);
  EXPECT_TRUE(fs::is_empty(path / "checkpoints"));
}

/// What one layout saved and another loads is the same after gathering, weights and states.
TEST(SameRun, CheckpointsMoveBetweenLayoutsBitForBit) {
  struct Layout {
    std::string name, settings;
    int ranks;
  };
  const std::vector<Layout> layouts = {{"one", "", 1},
                                       {"dp2", "", 2},
                                       {"tp2", "parallel.tp=2", 2},
                                       {"cp2", "parallel.cp=2", 2},
                                       {"ep2", "parallel.ep=2", 2},
                                       {"dp2tp2", "parallel.tp=2", 4}};
  for (const Layout& saved : layouts) {
    const std::string set = saved.settings.empty() ? "" : " --set " + saved.settings;
    const fs::path from = run("moves_" + saved.name, "tiny_ccgqa_moe",
                              "--set model.n_layers=1 --set train.steps=4" + set, saved.ranks);
    const auto before = checkpoint_tensors(from, 4);
    ASSERT_FALSE(before.empty());
    for (const Layout& loaded : layouts) {
      const fs::path to = fresh_folder("same_run/moved_" + saved.name + "_" + loaded.name);
      const std::string all = loaded.settings.empty()
                                  ? " parallel.tp=1 parallel.cp=1 parallel.ep=1"
                                  : " parallel.tp=1 parallel.cp=1 parallel.ep=1 " + loaded.settings;
      const Outcome outcome =
          run_ranks("tests/reload", from.string() + " " + to.string() + all, loaded.ranks);
      ASSERT_EQ(outcome.code, 0) << saved.name << " to " << loaded.name << outcome.output;
      EXPECT_TRUE(before == checkpoint_tensors(to, 4)) << saved.name << " to " << loaded.name;
    }
  }
}

TEST(SameRun, ResumeOnOtherRanksGoesOn) {
  const fs::path whole = run("ranks_whole", "tiny_ccgqa_moe", "--set precision.compute=f64", 2);
  const fs::path died = died_after_ten(whole, "ranks_died");
  const Outcome outcome = run_train("--resume " + died.string(), 1);
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const auto want = series(whole, "loss"), got = series(died, "loss");
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12 * want[i]);
}

}  // namespace
}  // namespace strait::test
