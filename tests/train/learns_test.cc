#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "input/dataset.h"
#include "tests/train/program.h"

// Training works: every kind beats what a table of byte pairs knows.
namespace strait::test {
namespace {

constexpr double kMargin = 0.25;  // nats

std::vector<std::int32_t> tokens_of(const input::TokenView& view) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(view.size));
  view.read(0, tokens);
  return tokens;
}

/// Mean loss of a bigram model with add-alpha smoothing over pairs inside documents.
double bigram_loss(const std::vector<std::int32_t>& train, const std::vector<std::int32_t>& val,
                   std::int32_t vocab, std::int32_t eod, double alpha) {
  std::vector<double> pairs(static_cast<std::size_t>(vocab) * vocab, alpha);
  std::vector<double> firsts(static_cast<std::size_t>(vocab), alpha * vocab);
  for (std::size_t i = 0; i + 1 < train.size(); ++i) {
    if (train[i] == eod) continue;
    pairs[static_cast<std::size_t>(train[i]) * vocab + train[i + 1]] += 1;
    firsts[train[i]] += 1;
  }
  double sum = 0, count = 0;
  for (std::size_t i = 0; i + 1 < val.size(); ++i) {
    if (val[i] == eod) continue;
    const double p = pairs[static_cast<std::size_t>(val[i]) * vocab + val[i + 1]] / firsts[val[i]];
    sum -= std::log(p);
    count += 1;
  }
  return sum / count;
}

/// The bigram model's best loss on the validation work, its smoothing chosen on that work itself.
double best_bigram_loss() {
  const auto tokenizer = input::make_tokenizer("bytes");
  const input::Dataset data({.train = std::string(STRAIT_SOURCE_DIR) + "/data/sample.txt"},
                            *tokenizer, 1, tokenizer->vocab_size());
  const auto train = tokens_of(data.train()[0].tokens);
  const auto val = tokens_of(data.validation()[0].tokens);
  double best = 1e9;
  for (double alpha = 1e-4; alpha < 2; alpha *= 2) {
    best =
        std::min(best, bigram_loss(train, val, tokenizer->vocab_size(), tokenizer->eod(), alpha));
  }
  return best;
}

class Learns : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Training, Learns,
                         ::testing::Values("tiny_mha", "tiny_gqa", "tiny_mla", "tiny_cca",
                                           "tiny_ccgqa", "tiny_mha_moe", "tiny_gqa_moe",
                                           "tiny_mla_moe", "tiny_cca_moe", "tiny_ccgqa_moe"),
                         [](const auto& info) { return info.param; });

TEST_P(Learns, BeatsTheBigramModelByAQuarterNat) {
  const auto run = fresh_folder("learns/" + GetParam()) / "run";
  const Outcome outcome = run_train("--config " + GetParam() + " --set run.dir=" + run.string() +
                                    " --set eval.sequences=0");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const auto val = series(run, "val_loss");
  ASSERT_FALSE(val.empty());
  const double bigram = best_bigram_loss();
  RecordProperty("bigram_loss", std::to_string(bigram));
  RecordProperty("val_loss", std::to_string(val.back()));
  EXPECT_GT(bigram, 2.0);  // English bytes: anything lower would be a broken yardstick
  EXPECT_LE(val.back(), bigram - kMargin) << "bigram " << bigram;
}

/// Validation loss after 60 steps of tiny_ccgqa with this optimizer, at the learning rate that was
/// best for it over 200 steps (src/optim/README.md).
double tuned_loss(const std::string& kind, const std::string& lr) {
  const auto run = fresh_folder("learns/optim_" + kind) / "run";
  const Outcome outcome =
      run_train("--config tiny_ccgqa --set train.steps=60 --set optim.kind=" + kind +
                " --set optim.lr=" + lr + " --set run.dir=" + run.string());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  return series(run, "val_loss").back();
}

TEST(Muon, IsBelowAdamwAfterAsManySteps) {
  const double adamw = tuned_loss("adamw", "3e-3"), muon = tuned_loss("muon", "1e-2");
  RecordProperty("adamw", std::to_string(adamw));
  RecordProperty("muon", std::to_string(muon));
  EXPECT_LE(muon, adamw);
}

TEST(Memory, PlanIsWithinTwoPercentOfResidentGrowth) {
  if (kMemoryIsShadowed) GTEST_SKIP() << "sanitizers keep memory of their own";
  for (const std::string kind : {"adamw", "muon"}) {
    SCOPED_TRACE(kind);
    const auto run = fresh_folder("memory_" + kind) / "run";
    const Outcome outcome = run_train(
        "--config tiny_ccgqa_moe --set model.d_model=512 --set model.n_layers=8"
        " --set model.attention.head_dim=64 --set model.ffn.moe.d_expert=768"
        " --set data.seq_len=512 --set train.batch_size=2 --set train.steps=2"
        " --set optim.warmup_steps=1 --set eval.sequences=2 --set optim.kind=" +
        kind + " --set run.dir=" + run.string());
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    const double planned = series(run, "planned_bytes").at(0);
    const double grown = series(run, "measured_bytes").at(0);
    EXPECT_GT(planned, 5e8);  // large enough that a program's own few MiB do not decide
    EXPECT_NEAR(planned / grown, 1.0, 0.02) << planned << " planned, " << grown << " measured";
  }
}

}  // namespace
}  // namespace strait::test
