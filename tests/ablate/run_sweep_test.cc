#include "ablate/run_sweep.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "ablate/json_lines.h"
#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

/// Sweeps whose cells are run by fake_train.sh, where a learning rate of 0.002 is the best.
class SweepRunTest : public ::testing::Test {
 protected:
  SweepRunTest() : folder_(scratch()) {
    for (const char* name : {"FAKE_FAIL", "FAKE_ONCE", "FAKE_CODE", "FAKE_SLEEP"}) ::unsetenv(name);
    ::setenv("FAKE_LOG", (folder_ / "starts").c_str(), 1);
    options_.train = std::string(STRAIT_SOURCE_DIR) + "/tests/ablate/fake_train.sh";
  }

  Sweep sweep(const std::string& members) const {
    Sweep sweep = sweep_of(
        R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
             "cca": {"set": {"model.attention.kind": "cca"}}}, "seeds": 2, )" +
        members);
    sweep.out = (folder_ / "sweep").string();
    return sweep;
  }

  void run(const Sweep& sweep) { SweepRun(sweep, expand(sweep, {}), options_, log_).run(); }

  JsonTree file() const {
    return config::read_tree(core::read_file(folder_ / "sweep/sweep.json"), "sweep.json");
  }

  std::filesystem::path folder_;
  RunOptions options_;
  core::Log log_{1};  // of another rank: says nothing
};

TEST_F(SweepRunTest, EachVariantGoesOnWithItsBestRate) {
  run(sweep(R"("budget": {"tokens": 1000},
               "tune": {"values": [1e-3, 2e-3, 4e-3], "tokens": 200})"));
  const JsonTree written = file();
  for (const JsonTree& variant : written.find("variants")->items()) {
    const JsonTree& tuned = *variant.find("tuned");
    EXPECT_EQ(tuned.find("value")->number(), 2e-3);
    EXPECT_TRUE(tuned.find("edge")->is(JsonTree::Kind::null));
    EXPECT_EQ(tuned.find("losses")->items().size(), 3u);
  }
  ASSERT_EQ(written.find("cells")->items().size(), 4u);
  const auto cell = *read_cell(folder_ / "sweep/cells/cca/1k/seed2");
  EXPECT_EQ(cell.file.find("lr")->number(), 2e-3);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "sweep/report/results.json"));
}

TEST_F(SweepRunTest, AnEdgeOfTheRatesIsReported) {
  run(sweep(R"("budget": {"tokens": 1000}, "tune": {"values": [2e-3, 4e-3], "tokens": 200})"));
  const JsonTree written = file();
  EXPECT_EQ(written.find("variants")->items()[0].find("tuned")->find("edge")->text(), "low");
}

TEST_F(SweepRunTest, SecondsBecomeStepsByTheMeasuredRate) {
  run(sweep(R"("budget": {"seconds": 128})"));  // 50 tok/s, 128 tokens a step
  const JsonTree written = file();
  for (const JsonTree& cell : written.find("cells")->items()) {
    EXPECT_EQ(cell.find("steps")->number(), 50);
  }
}

TEST_F(SweepRunTest, OnlyRunsWhatIsNamed) {
  options_.only = {"cca/seed2"};
  const Sweep one = sweep(R"("budget": {"tokens": 1000})");
  run(one);
  EXPECT_TRUE(read_cell(folder_ / "sweep/cells/cca/1k/seed2"));
  EXPECT_FALSE(read_cell(folder_ / "sweep/cells/cca/1k/seed1"));
  EXPECT_FALSE(read_cell(folder_ / "sweep/cells/mha/1k/seed2"));
  options_.only = {"caa"};
  EXPECT_NE(refusal([&] { run(one); }).find("\"caa\" is no variant, budget or seed"),
            std::string::npos);
}

TEST_F(SweepRunTest, AFailedCellIsAFaultAfterTheOthersAreDone) {
  ::setenv("FAKE_FAIL", "cells/mha/1k/seed1", 1);
  EXPECT_THROW(run(sweep(R"("budget": {"tokens": 1000})")), core::RuntimeFault);
  EXPECT_TRUE(read_cell(folder_ / "sweep/cells/cca/1k/seed2")->done);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "sweep/report/results.json"));
}

TEST_F(SweepRunTest, CellsThatWantAGpuWhereThereIsNoneAreRefusedBeforeAnyBegins) {
  const Sweep small = sweep(R"("budget": {"tokens": 1000})");
  options_.no_gpu = "no GPU here";
  options_.device = "cuda";
  EXPECT_THROW(run(small), core::InputError);
  options_.device = "cpu";
  options_.gpus = {"0"};
  EXPECT_THROW(run(small), core::InputError);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "starts"));
  options_.gpus.clear();
  run(small);
  // What is finished needs no GPU.
  options_.device = "cuda";
  run(small);
}

TEST_F(SweepRunTest, CellsWithoutTheirDataAreRefusedBeforeAnyBegins) {
  const Sweep small = sweep(R"("budget": {"tokens": 1000})");
  const std::filesystem::path text = folder_ / "corpus.txt";
  const auto run_on_text = [&] {
    SweepRun(small, expand(small, {.overrides = {"data.val=" + text.string()}}), options_, log_)
        .run();
  };
  const std::string said = refusal(run_on_text);
  EXPECT_NE(said.find("data.val = \"" + text.string() + "\": no such file"), std::string::npos)
      << said;
  EXPECT_FALSE(std::filesystem::exists(folder_ / "starts"));
  std::filesystem::create_directory(text);
  EXPECT_NE(refusal(run_on_text).find("is a folder"), std::string::npos);
  std::filesystem::remove(text);
  std::ofstream(text) << "Call me Ishmael.";
  run_on_text();
  // What is finished needs no data.
  std::filesystem::remove(text);
  run_on_text();
}

TEST_F(SweepRunTest, AReportThatFailsIsAFault) {
  options_.report = {"false"};
  EXPECT_THROW(run(sweep(R"("budget": {"tokens": 1000})")), core::RuntimeFault);
}

}  // namespace
}  // namespace strait::test
