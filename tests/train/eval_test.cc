#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/train/program.h"

// Evaluation of tasks and datasets, in a run and apart from it.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

std::string tasks() {
  const std::string at = STRAIT_SOURCE_DIR "/tests/train/tasks/";
  return " --set \"eval.tasks=hellaswag=" + at + "hellaswag.jsonl, arc_easy=" + at +
         "arc.jsonl, piqa=" + at + "piqa.jsonl, winogrande=" + at + "winogrande.jsonl\"";
}

const std::string kSmall =
    "--config tiny_ccgqa --set model.n_layers=1 --set data.seq_len=256 --set train.batch_size=4"
    " --set train.steps=4 --set optim.warmup_steps=1 --set eval.sequences=8"
    " --set precision.compute=f64";

TEST(Eval, OfACheckpointIsThatOfTheRun) {
  const fs::path folder = fresh_folder("eval/run");
  const std::string dir = (folder / "run").string();
  const Outcome run = run_train(kSmall + tasks() + " --set run.dir=" + dir);
  ASSERT_EQ(run.code, 0) << run.output;
  const std::string metrics = read_text(folder / "run/metrics.jsonl");
  const auto accuracies = series(folder / "run", "acc");
  ASSERT_EQ(accuracies.size(), 4u);
  for (const int ranks : {1, 2}) {
    const Outcome alone = run_train("--eval-only --set train.micro_batch=2 --resume " + dir, ranks);
    ASSERT_EQ(alone.code, 0) << alone.output;
    EXPECT_NE(alone.output.find("winogrande: "), std::string::npos) << alone.output;
    EXPECT_EQ(read_text(folder / "run/metrics.jsonl"), metrics);
    fs::rename(folder / "run/eval.jsonl", folder / "metrics.jsonl");
    EXPECT_EQ(series(folder, "acc"), accuracies);
    EXPECT_EQ(series(folder, "acc_norm"), series(folder / "run", "acc_norm"));
    EXPECT_NEAR(series(folder, "val_loss").at(0), series(folder / "run", "val_loss").at(0), 1e-12);
  }
}

TEST(Eval, OfExpertRanksIsThatOfOneRankHoweverSequencesDivide) {
  // Two ranks of up to eight sequences share out nine or twelve; their rows of tasks do not divide
  // either. Experts need all ranks in every batch.
  const fs::path folder = fresh_folder("eval/experts");
  const std::string dir = (folder / "run").string();
  const Outcome run =
      run_train("--config tiny_gqa_moe" + kSmall.substr(kSmall.find(" --set")) +
                " --set train.steps=2 --set train.batch_size=16 --set run.dir=" + dir);
  ASSERT_EQ(run.code, 0) << run.output;
  for (const std::string sequences : {"9", "12"}) {
    std::vector<std::vector<double>> results;
    for (const std::string ranks : {"1", "2"}) {
      const Outcome alone =
          run_train("--eval-only --resume " + dir + tasks() + " --set train.micro_batch=8" +
                        " --set eval.sequences=" + sequences + " --set parallel.ep=" + ranks,
                    std::stoi(ranks));
      ASSERT_EQ(alone.code, 0) << alone.output;
      fs::rename(folder / "run/eval.jsonl", folder / "metrics.jsonl");
      results.push_back(series(folder, "acc"));
      results.back().push_back(series(folder, "val_loss").at(0));
    }
    ASSERT_EQ(results[0].size(), 5u);
    for (std::size_t i = 0; i < results[0].size(); ++i) {
      EXPECT_NEAR(results[0][i], results[1][i], 1e-12) << i << " of " << sequences;
    }
  }
}

TEST(Eval, SharedRowsScoreAsRowsOfTheirOwn) {
  // With positions of the sequence every choice has a row to itself; without rotation the two
  // agree.
  const fs::path folder = fresh_folder("eval/rows");
  std::vector<std::string> results;
  for (const std::string positions : {"document", "sequence"}) {
    const fs::path run = folder / positions;
    const Outcome outcome = run_train(kSmall + tasks() + " --set run.dir=" + run.string() +
                                      " --set model.attention.rope.fraction=0" +
                                      " --set model.attention.rope.positions=" + positions);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    const auto acc = series(run, "acc"), norm = series(run, "acc_norm");
    ASSERT_EQ(acc.size(), 4u);
    std::string text;
    for (std::size_t i = 0; i < 4; ++i) {
      text += std::to_string(acc[i]) + " " + std::to_string(norm[i]) + "\n";
    }
    results.push_back(text);
  }
  EXPECT_EQ(results[0], results[1]);
}

// scripts/check_lm_eval.py --save made the model and the harness's results.
TEST(Eval, EqualsLmEvaluationHarness) {
  const std::string python = STRAIT_SOURCE_DIR "/scripts/python_with.sh";
  if (std::system(("'" + python + "' tokenizers > /dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << "no Python with the tokenizers library";
  }
  const fs::path folder = fresh_folder("eval/harness");
  const std::string at = STRAIT_SOURCE_DIR "/tests/train/tasks/";
  write_text(folder / "text.txt", std::string(500, 'a'));
  write_text(folder / "config.json", R"({"init": {"from": ")" + at + R"(model"},
    "data": {"seq_len": 128, "val_documents": 0, "tokenizer": ")" +
                                         at + R"(model/tokenizer.json",
             "train": ")" + (folder / "text.txt").string() +
                                         R"("},
    "train": {"steps": 1, "batch_size": 2}, "precision": {"compute": "f64"},
    "run": {"dir": ")" + (folder / "run").string() +
                                         R"("}})");
  const Outcome outcome =
      run_train("--eval-only --config " + (folder / "config.json").string() + tasks());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  fs::rename(folder / "run/eval.jsonl", folder / "run/metrics.jsonl");
  const auto acc = series(folder / "run", "acc"), norm = series(folder / "run", "acc_norm");
  const auto want = nlohmann::json::parse(read_text(at + "lm_eval.json"));
  const std::vector<std::string> names = {"hellaswag", "arc_easy", "piqa", "winogrande"};
  ASSERT_EQ(acc.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& task = want.at(names[i]);
    EXPECT_DOUBLE_EQ(acc[i], task.at("acc").get<double>()) << names[i];
    if (!task.at("acc_norm").is_null()) {
      EXPECT_DOUBLE_EQ(norm[i], task.at("acc_norm").get<double>()) << names[i];
    }
    fs::rename(folder / ("run/eval-" + names[i] + ".jsonl"), folder / "metrics.jsonl");
    const auto scores = series(folder, "log_likelihood");
    ASSERT_EQ(scores.size(), task.at("scores").size());
    for (std::size_t c = 0; c < scores.size(); ++c) {
      // The harness computes in float32: its sums of some 50 terms are good to 1e-6.
      const auto score = task.at("scores").at(c).get<double>();
      EXPECT_NEAR(scores[c], score, 2e-6 * std::abs(score)) << names[i] << " choice " << c;
    }
  }
}

TEST(Eval, NamesWhatItCannotDo) {
  const auto refused = [](const std::string& arguments, const std::string& word) {
    const Outcome outcome = run_train(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(word), std::string::npos) << outcome.output;
  };
  refused(kSmall + " --eval-only", "--eval-only: names no weights");
  refused(kSmall + " --set eval.tasks=hellaswg=a.jsonl", "known: hellaswag");
  refused(kSmall + " --set eval.tasks=piqa=none.jsonl", "none.jsonl");
  refused(kSmall + tasks() + " --set data.seq_len=8", "raise data.seq_len");
}

}  // namespace
}  // namespace strait::test
