#include "ablate/runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

/// Runs cells by fake_train.sh and tells which were started.
class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest() : folder_(scratch()) {
    for (const char* name : {"FAKE_FAIL", "FAKE_ONCE", "FAKE_CODE", "FAKE_SLEEP"}) ::unsetenv(name);
    ::setenv("FAKE_LOG", (folder_ / "starts").c_str(), 1);
    options_.train = std::string(STRAIT_SOURCE_DIR) + "/tests/ablate/fake_train.sh";
    cells_ = cells();
  }

  static std::vector<Cell> cells(const std::string& more = {}) {
    const Sweep sweep = sweep_of(
        R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
             "cca": {"set": {"model.attention.kind": "cca"}}}, "seeds": 2,
           "budget": {"tokens": 1000})" +
        more);
    const std::vector<std::string> overrides = {"train.log_every=3"};
    return main_cells(sweep, match(sweep, expand(sweep, {.overrides = overrides})), {});
  }

  Runner runner(const std::filesystem::path& results = {}) {
    return Runner(folder_, results, options_, log_);
  }

  std::vector<std::string> starts() const {
    std::vector<std::string> lines;
    if (!std::filesystem::exists(folder_ / "starts")) return lines;
    std::istringstream text(core::read_file(folder_ / "starts"));
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  std::filesystem::path folder_;
  RunOptions options_;
  core::Log log_{1};  // of another rank: says nothing
  std::vector<Cell> cells_;
};

TEST_F(RunnerTest, RunsEachCellOnceAndNeverAgain) {
  for (int time = 0; time < 2; ++time) {
    Runner runner = this->runner();
    runner.run(cells_);
    for (const Cell& cell : cells_) {
      ASSERT_TRUE(runner.result(cell));
      EXPECT_TRUE(runner.result(cell)->done);
      EXPECT_EQ(runner.result(cell)->val_loss, 3.5);
    }
    EXPECT_TRUE(runner.failures().empty());
  }
  EXPECT_EQ(starts().size(), 4u);
}

TEST_F(RunnerTest, AFailingCellIsTriedTwiceAndStopsNothing) {
  ::setenv("FAKE_FAIL", "cells/cca/1k/seed1", 1);
  Runner runner = this->runner();
  runner.run(cells_);
  EXPECT_EQ(starts().size(), 5u);
  ASSERT_EQ(runner.failures().size(), 1u);
  EXPECT_EQ(runner.failures()[0], "cells/cca/1k/seed1: broken on purpose");
  const CellResult failed = *read_cell(folder_ / "cells/cca/1k/seed1");
  EXPECT_FALSE(failed.done);
  EXPECT_EQ(failed.attempts, 2);
  EXPECT_EQ(failed.exit_code, 3);
  EXPECT_TRUE(read_cell(folder_ / "cells/cca/1k/seed2")->done);
  // Started again, what failed is tried again.
  ::unsetenv("FAKE_FAIL");
  Runner again = this->runner();
  again.run(cells_);
  EXPECT_EQ(starts().size(), 6u);
  EXPECT_TRUE(again.failures().empty());
}

TEST_F(RunnerTest, ASecondAttemptCounts) {
  ::setenv("FAKE_FAIL", "cells/mha/1k/seed2", 1);
  ::setenv("FAKE_ONCE", "1", 1);
  Runner runner = this->runner();
  runner.run(cells_);
  EXPECT_TRUE(runner.failures().empty());
  EXPECT_EQ(read_cell(folder_ / "cells/mha/1k/seed2")->attempts, 2);
}

TEST_F(RunnerTest, BadInputIsNotTriedTwice) {
  ::setenv("FAKE_FAIL", "cells/mha", 1);
  ::setenv("FAKE_CODE", "2", 1);
  Runner runner = this->runner();
  runner.run(cells_);
  EXPECT_EQ(starts().size(), 4u);
  EXPECT_EQ(runner.failures().size(), 2u);
}

TEST_F(RunnerTest, AnotherConfigIsRefusedByWhatDiffers) {
  runner().run(cells_);
  const std::vector<Cell> others = cells(R"(, "grids": [{"keys": {"optim.lr": [0.5]}}],
                                              "baseline": "mha-lr0.5")");
  std::vector<Cell> moved = others;
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i].path = cells_[i].path;
  Runner runner = this->runner();
  const std::string message = refusal([&] { runner.run(moved); });
  EXPECT_NE(message.find("was made with another config: now optim.lr=0.5; then defaults"),
            std::string::npos)
      << message;
  EXPECT_EQ(starts().size(), 4u);
}

TEST_F(RunnerTest, FinishedCellsOfTheResultsAreTaken) {
  options_.publish = true;
  const auto results = folder_ / "results";
  runner(results).run({cells_[0], cells_[1]});
  EXPECT_TRUE(std::filesystem::exists(results / cells_[0].path / "metrics.jsonl"));
  std::filesystem::remove_all(folder_ / "cells");
  Runner second = runner(results);
  second.run(cells_);
  EXPECT_EQ(starts().size(), 4u) << "two of the results, two run";
  EXPECT_TRUE(second.result(cells_[0])->done);
  EXPECT_TRUE(read_cell(folder_ / cells_[0].path)->file.find("imported")->boolean());
}

TEST_F(RunnerTest, ResultsOfAnotherConfigAreNot) {
  options_.publish = true;
  const auto results = folder_ / "results";
  runner(results).run({cells_[0]});
  std::filesystem::remove_all(folder_ / "cells");
  Cell changed = cells_[0];
  changed.config.optim.lr = 0.25;
  changed.hash = "0123456789abcdef";
  options_.publish = false;
  runner(results).run({changed});
  EXPECT_EQ(starts().size(), 2u);
}

TEST_F(RunnerTest, StartsNothingThatWouldEndTooLate) {
  options_.time_limit_s = 100;
  options_.flops_per_second = cells_[0].train_flops / 1000;
  Runner runner = this->runner();
  runner.run(cells_);
  EXPECT_TRUE(starts().empty());
  EXPECT_EQ(runner.left_out(), 4u);
}

TEST_F(RunnerTest, SpreadsOverGpusAndPacks) {
  ::setenv("FAKE_SLEEP", "0.2", 1);
  options_.gpus = {"4", "6"};
  options_.jobs = 2;
  Runner runner = this->runner();
  EXPECT_EQ(runner.slots(), 4u);
  runner.run(cells_);
  const auto lines = starts();
  for (const char* gpu : {"gpu=4", "gpu=6"}) {
    EXPECT_EQ(std::ranges::count_if(lines, [&](auto& line) { return line.ends_with(gpu); }), 2);
  }
}

TEST_F(RunnerTest, RanksOfACellGetGpusOfTheirOwn) {
  options_.gpus = {"0", "1", "2", "3"};
  options_.ranks = 2;
  EXPECT_EQ(runner().slots(), 2u);
  options_.ranks = 8;
  EXPECT_EQ(runner().slots(), 1u) << "they share";
}

}  // namespace
}  // namespace strait::test
