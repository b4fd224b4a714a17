#include "ablate/results.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;
using config::JsonTree;

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

/// A sweep of two variants and a third that failed, two seeds; "b, c" is 0.1 below a at the end.
class Results : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / ("results_" + std::string(test->name()));
    fs::remove_all(folder_);
    JsonTree cells = JsonTree::array();
    for (const char* variant : {"a", "b", "c"}) {
      for (const int seed : {1, 2}) {
        const std::string path =
            std::string("cells/") + variant + "/1m/seed" + std::to_string(seed);
        cells.append(JsonTree::object()
                         .set("variant", variant)
                         .set("budget", "1m")
                         .set("seed", seed)
                         .set("path", path));
        write_cell(path, *variant, seed);
      }
    }
    JsonTree sweep = config::read_tree(R"({"name": "s", "title": "S", "baseline": "a",
      "seeds": [1, 2], "budgets": [{"name": "1m", "kind": "tokens", "value": 1000000}],
      "reference": {"order": [["b"], ["gone", "a"]]},
      "variants": [{"name": "a", "label": "A"}, {"name": "b", "label": "B, \"new\""},
                   {"name": "c", "label": "C"}]})",
                                       "test");
    sweep.set("cells", cells);
    put(folder_ / "sweep.json", config::to_text(sweep));
  }

  void write_cell(const std::string& path, char variant, int seed) {
    if (variant == 'c' && seed == 2) return;  // not run yet
    if (variant == 'c') {
      put(folder_ / path / "cell.json", R"({"status": "failed", "error": "no \"memory\", sorry"})");
      return;
    }
    const double last = 3.0 + 0.01 * seed - (variant == 'b' ? 0.1 + 0.001 * seed : 0);
    put(folder_ / path / "cell.json",
        R"({"status": "done", "steps": 100, "tokens": 1000000, "device": "cpu", "val_loss": )" +
            std::to_string(last) + "}");
    std::string lines;
    for (const int step : {20, 60, 40, 60, 80, 100}) {  // 40 and 60 again after a resume
      lines += R"({"event": "eval", "step": )" + std::to_string(step) + R"(, "val_loss": )" +
               std::to_string(last + 1 - step / 100.0) + "}\n{\"step\": 1, \"loss\": 3}\n";
    }
    put(folder_ / path / "metrics.jsonl", lines + R"({"event": "eval", "st)");
  }

  fs::path folder_;
};

TEST_F(Results, CollectsWhatIsThereAndSaysWhatIsNot) {
  const Collected sweep = collect(folder_);
  ASSERT_EQ(sweep.cells.size(), 6u);
  EXPECT_EQ(sweep.cells[0].status, "done");
  EXPECT_EQ(sweep.cells[4].status, "failed");
  EXPECT_EQ(sweep.cells[5].status, "missing");
  const auto& curve = sweep.cells[0].curve;
  ASSERT_EQ(curve.size(), 5u);
  EXPECT_EQ(curve[1].first, 400000);
  EXPECT_EQ(curve[2].first, 600000);
  EXPECT_EQ(sweep.reference, (std::vector<std::vector<std::size_t>>{{1}, {0}}));
}

TEST_F(Results, JudgesPairsAndTheExpectedOrder) {
  const Collected sweep = collect(folder_);
  const BudgetAnalysis analysis = analyse(sweep).front();
  EXPECT_EQ(analysis.order, (std::vector<std::size_t>{1, 0}));
  EXPECT_NEAR(analysis.against_baseline[0].comparison.mean, -0.1015, 1e-6);
  EXPECT_TRUE(analysis.against_baseline[0].comparison.paired.resolved);
  EXPECT_TRUE(analysis.against_baseline[1].seeds.empty());
  ASSERT_EQ(analysis.claims.size(), 1u);
  EXPECT_EQ(outcome(analysis.claims[0], analysis.claimed[0].comparison.mean,
                    analysis.claimed[0].comparison.paired),
            "supported");
  EXPECT_NE(sentence(analysis.against_baseline[0], sweep).find("B, \"new\" is lower than A by "),
            std::string::npos);
  EXPECT_NE(sentence(analysis.against_baseline[1], sweep).find("share no finished seed"),
            std::string::npos);
}

TEST_F(Results, WritesJsonWithoutNansAndCsvOfOneRowACell) {
  EXPECT_NE(write_results(folder_).find("budget 1m"), std::string::npos);
  const JsonTree results =
      config::read_tree(core::read_file(folder_ / "report/results.json"), "results.json");
  const JsonTree& budget = results.find("budgets")->items().front();
  EXPECT_TRUE(results.find("moves")->items().empty()) << "a single budget";
  EXPECT_TRUE(budget.find("variants")->items()[2].find("loss")->is(JsonTree::Kind::null));
  EXPECT_EQ(budget.find("claims")->items()[0].find("outcome")->text(), "supported");
  const std::string cells = core::read_file(folder_ / "report/cells.csv");
  EXPECT_EQ(std::count(cells.begin(), cells.end(), '\n'), 7);
  EXPECT_NE(cells.find(R"("no ""memory"", sorry")"), std::string::npos);
  const std::string rows = core::read_file(folder_ / "report/comparisons.csv");
  EXPECT_EQ(std::count(rows.begin(), rows.end(), '\n'), 1 + 2 + 1 + 1 + 1);
}

TEST_F(Results, RefusesAFolderWithoutSweepAndNamesWhatIsWrong) {
  std::string text = test::refusal([&] { write_results(folder_ / "nothing"); });
  EXPECT_NE(text.find("nothing: holds no sweep (no sweep.json); name"), std::string::npos) << text;
  put(folder_ / "cells/a/1m/seed1/cell.json", R"({"status": "done", "steps": 1, "tokens": 1})");
  text = test::refusal([&] { write_results(folder_); });
  EXPECT_NE(text.find("seed1/cell.json: val_loss is missing"), std::string::npos) << text;
}

/// Two budgets, of which the last lacks a cell; "b" is expected to be first.
Collected two_budgets() {
  Collected sweep;
  sweep.variants = sweep.labels = {"a", "b", "c"};
  sweep.seeds = {1, 2};
  sweep.budgets = {"1m", "2m"};
  sweep.reference = {{1}, {0}};
  for (std::size_t v = 0; v < 3; ++v) {
    for (const int budget : {0, 1}) {
      for (const int seed : {1, 2}) {
        const bool missing = v == 2 && budget == 1 && seed == 2;
        const double gap = v == 1 ? (budget == 0 ? -0.3 : -0.1 + 0.01 * seed) : 0.1 * (v == 2);
        sweep.cells.push_back(
            {.variant = sweep.variants[v],
             .budget = sweep.budgets[budget],
             .seed = seed,
             .path = "",
             .status = missing ? "missing" : "done",
             .file = JsonTree::object().set("val_loss", 4 - 0.5 * budget + 0.02 * seed + gap)});
      }
    }
  }
  return sweep;
}

TEST(Analysis, ComparesTheOthersWithTheFirstOfTheExpectedOrder) {
  const auto analyses = analyse(two_budgets());
  ASSERT_EQ(analyses[0].against_first.size(), 1u) << "the baseline stands elsewhere";
  const Comparison& left = analyses[0].against_first[0].comparison;
  EXPECT_EQ(left.a, 2u);
  EXPECT_EQ(left.b, 1u);
  EXPECT_NEAR(left.mean, 0.4, 1e-12);
}

TEST(Analysis, GapsMoveFromTheFirstBudgetToTheLast) {
  const Collected sweep = two_budgets();
  const auto moved = moves(sweep, analyse(sweep));
  ASSERT_EQ(moved.size(), 2u);
  EXPECT_EQ(moved[0].a, 1u);
  EXPECT_NEAR(moved[0].mean, 0.215, 1e-12);
  EXPECT_NEAR(moved[0].paired.sd, 0.01 / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(moved[1].differences.size(), 1u) << "seed 2 of c is missing";
  EXPECT_NEAR(moved[1].mean, 0, 1e-12);
}

TEST(Claims, AreEqualitiesInAGroupAndLessBetweenNeighbours) {
  const auto claims = claims_of({{4}, {0, 2}, {3}});
  ASSERT_EQ(claims.size(), 5u);
  EXPECT_FALSE(claims[0].equal);
  EXPECT_EQ(claims[1].b, 2u);
  EXPECT_FALSE(claims[2].equal);
  EXPECT_TRUE(claims[3].equal);
  EXPECT_EQ(claims[4].a, 2u);
}

}  // namespace
}  // namespace strait::ablate
