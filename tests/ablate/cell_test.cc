#include "ablate/cell.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "ablate/cell_result.h"
#include "ablate/costs.h"
#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

const std::string kTwo =
    R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
                    "cca": {"set": {"model.attention.kind": "cca"}}}, )";

std::vector<Solved> solved(const Sweep& sweep) {
  return match(sweep, expand(sweep, {}));
}

// 4 sequences of 32 tokens a step.
TEST(Cells, StepsFollowFromTheBudget) {
  const Sweep tokens = sweep_of(kTwo + R"("budget": {"tokens": 1000})");
  for (const Cell& cell : main_cells(tokens, solved(tokens), {})) {
    EXPECT_EQ(cell.config.train.steps, 8) << "reached: 7.8 steps";
    EXPECT_EQ(cell.tokens(), 1024);
  }
  const Sweep flops = sweep_of(kTwo + R"("budget": {"flops": 1e10})");
  for (const Cell& cell : main_cells(flops, solved(flops), {})) {
    EXPECT_NEAR(cell.train_flops, 1e10, 128 * cell.train_flops / cell.tokens());
  }
  const Sweep seconds = sweep_of(kTwo + R"("budget": {"seconds": 10})");
  EXPECT_EQ(rate_cells(seconds, solved(seconds)).size(), 2u);
  const auto cells = main_cells(seconds, solved(seconds), {128, 256});
  EXPECT_EQ(cells[0].config.train.steps, 10);
  EXPECT_EQ(cells[1].config.train.steps, 20);
}

TEST(Cells, SmallBudgetsFirstThenSeedsThenVariants) {
  const Sweep sweep =
      sweep_of(kTwo + R"("seeds": 2, "budget": [{"tokens": 1000}, {"tokens": 2000}])");
  std::vector<std::string> names;
  std::set<std::string> hashes;
  for (const Cell& cell : main_cells(sweep, solved(sweep), {})) {
    names.push_back(cell.name());
    hashes.insert(cell.hash);
  }
  ASSERT_EQ(names.size(), 8u);
  EXPECT_EQ(names[0], "cells/mha/1k/seed1");
  EXPECT_EQ(names[1], "cells/cca/1k/seed1");
  EXPECT_EQ(names[2], "cells/mha/1k/seed2");
  EXPECT_EQ(names[4], "cells/mha/2k/seed1");
  EXPECT_EQ(hashes.size(), 8u);
}

// Cells of one seed differ in what the variants set, and in nothing else: the same schedule, the
// same data in the same order (which the seed decides), the same seed of initial values.
TEST(Cells, OfOneSeedDifferInTheVariantAlone) {
  const Sweep sweep = sweep_of(kTwo + R"("seeds": 2, "budget": {"tokens": 5000})");
  const auto cells = main_cells(sweep, solved(sweep), {});
  EXPECT_EQ(difference(identity(cells[0].config), identity(cells[1].config)),
            R"(now model.attention.kind="cca"; then model.attention.kind="mha")");
}

TEST(Cells, TuningRunsAreShortAndLeaveNoCheckpoint) {
  const Sweep sweep = sweep_of(
      kTwo + R"("budget": {"tokens": 9e9}, "tune": {"values": [1e-3, 2e-3, 3e-3], "tokens": 900})");
  const auto cells = tune_cells(sweep, solved(sweep));
  ASSERT_EQ(cells.size(), 6u);
  EXPECT_EQ(cells[0].name(), "tune/mha/0/seed1");
  EXPECT_EQ(cells[5].name(), "tune/cca/2/seed1");
  EXPECT_EQ(cells[5].config.optim.lr, 3e-3);
  EXPECT_EQ(cells[5].config.train.steps, 8);
  EXPECT_EQ(cells[5].config.checkpoint.every, -1);
}

TEST(Identity, IsOfWhatDecidesTheResult) {
  const Sweep sweep = sweep_of(kTwo + R"("budget": {"tokens": 1000})");
  const config::Config config = main_cells(sweep, solved(sweep), {})[0].config;
  const auto changed = [&](const char* path, const char* value) {
    return identity(with_keys(config, {{path, config::read_tree(value, "")}}, ""));
  };
  const std::string own = identity(config);
  EXPECT_EQ(changed("run.dir", "\"elsewhere\""), own);
  EXPECT_EQ(changed("run.device", "\"auto\""), own);
  EXPECT_EQ(changed("checkpoint.every", "7"), own);
  EXPECT_EQ(changed("train.micro_batch", "2"), own);
  EXPECT_EQ(changed("parallel.dp", "2"), own);
  EXPECT_EQ(changed("eval.every", "5"), own);
  EXPECT_NE(changed("run.seed", "2"), own);
  EXPECT_NE(changed("optim.lr", "0.5"), own);
  EXPECT_NE(changed("eval.sequences", "1"), own);
  EXPECT_EQ(own.find("beta1"), std::string::npos) << "defaults are left out";
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

TEST(CellResult, IsReadFromWhatTheRunLeft) {
  const Sweep sweep = sweep_of(kTwo + R"("budget": {"tokens": 384})");
  const Cell cell = main_cells(sweep, solved(sweep), {})[0];
  const auto folder = scratch();
  write(folder / "provenance.json", R"({"revision": "abc", "device": "a GPU"})");
  const std::string steps = R"({"step":1,"tokens":128,"tok_s":10}
{"step":2,"tokens":256,"tok_s":30}
{"event":"eval","step":2,"val_loss":3.5,"val_bpb":1.5,"datasets":[{"name":"x","loss":3.5}]}
{"step":3,"tokens":384,"tok_s":20}
{"event":"data","step":3,"datasets":[{"name":"x","epochs":0.5},{"name":"y","epochs":2.5}]}
)";
  write(folder / "metrics.jsonl", steps + R"({"event":"eval","st)");
  EXPECT_FALSE(read_run(folder, cell).done) << "the last evaluation is cut off";
  write(folder / "metrics.jsonl",
        steps + R"({"event":"eval","step":3,"val_loss":3.25,"val_bpb":1.25}
{"event":"memory","step":3,"measured_bytes":777}
)");
  CellResult result = read_run(folder, cell);
  EXPECT_TRUE(result.done);
  EXPECT_EQ(result.val_loss, 3.25);
  EXPECT_EQ(result.tok_s, 20) << "the median";
  write_cell(folder, cell, result);
  const CellResult again = *read_cell(folder);
  EXPECT_TRUE(again.done);
  EXPECT_EQ(again.hash, cell.hash);
  const auto number = [&](const char* name) { return again.file.find(name)->number(); };
  EXPECT_EQ(again.file.find("device")->text(), "a GPU");
  EXPECT_EQ(number("epochs"), 2.5);
  EXPECT_EQ(number("peak_bytes"), 777);
  EXPECT_EQ(number("tokens"), 384);
  EXPECT_EQ(number("train_flops"), cell.train_flops);
  EXPECT_EQ(again.file.find("counts")->find("total_parameters")->number(),
            count(cell.config).total_parameters);
}

TEST(CellResult, ALossThatIsNoNumberIsAFailure) {
  const Sweep sweep = sweep_of(kTwo + R"("budget": {"tokens": 128})");
  const Cell cell = main_cells(sweep, solved(sweep), {})[0];
  const auto folder = scratch();
  write(folder / "metrics.jsonl", R"({"step":1,"tokens":128,"tok_s":10}
{"event":"eval","step":1,"val_loss":null,"val_bpb":null}
)");
  const CellResult result = read_run(folder, cell);
  EXPECT_FALSE(result.done);
  EXPECT_EQ(result.error, "the validation loss is no number");
  EXPECT_EQ(result.file.find("val_loss"), nullptr);
}

TEST(CellResult, SlimCopiesKeepEventsAndEveryNthStep) {
  const auto folder = scratch();
  std::string lines;
  for (int step = 1; step <= 100; ++step) {
    lines += R"({"step":)" + std::to_string(step) + "}\n";
    if (step % 50 == 0) lines += R"({"event":"eval","step":)" + std::to_string(step) + "}\n";
  }
  write(folder / "metrics.jsonl", lines);
  write(folder / "cell.json", R"({"status": "done", "hash": "h"})");
  copy_slim(folder, folder / "slim", 10);
  const std::string slim = core::read_file(folder / "slim" / "metrics.jsonl");
  EXPECT_EQ(std::ranges::count(slim, '\n'), 12);
  EXPECT_NE(slim.find(R"({"event":"eval","step":50})"), std::string::npos);
  EXPECT_NE(slim.find(R"({"step":100})"), std::string::npos);
  EXPECT_TRUE(read_cell(folder / "slim")->done);
  EXPECT_TRUE(read_cell(folder / "slim")->file.find("imported")->boolean());
}

TEST(Costs, FollowTheSlowestCellOfTheVariant) {
  Costs costs(1e9, 2);
  Cell cell{.variant = "a", .budget = {}, .path = {}, .config = {}, .hash = {}, .train_flops = 1e9};
  EXPECT_EQ(costs.seconds(cell), 2) << "two share the device";
  costs.add(cell, {.done = true, .wall_s = 10});
  costs.add(cell, {.done = true, .wall_s = 5});
  EXPECT_EQ(costs.seconds(cell), 10);
  cell.variant = "b";
  EXPECT_EQ(costs.seconds(cell), 10) << "as any other";
}

TEST(Costs, ForgetShortCellsOnceALongOneIsKnown) {
  Costs costs(1e9, 1);
  const auto cell = [](double flops) {
    return Cell{
        .variant = "a", .budget = {}, .path = {}, .config = {}, .hash = {}, .train_flops = flops};
  };
  costs.add(cell(1e9), {.done = true, .wall_s = 8});  // 5 s of start-up
  costs.add(cell(8e9), {.done = true, .wall_s = 29});
  EXPECT_EQ(costs.seconds(cell(16e9)), 58);
  costs.add(cell(1e9), {.done = true, .wall_s = 8});
  EXPECT_EQ(costs.seconds(cell(16e9)), 58) << "in whatever order";
  costs.add(cell(6e9), {.done = true, .wall_s = 30});
  EXPECT_EQ(costs.seconds(cell(16e9)), 80) << "the slowest of those about as long";
}

TEST(Costs, MakespanFillsTheFirstFreeSlot) {
  EXPECT_EQ(makespan({3, 1, 1, 1}, 2), 3);
  EXPECT_EQ(makespan({1, 1, 1}, 1), 3);
  EXPECT_EQ(makespan({}, 4), 0);
}

}  // namespace
}  // namespace strait::test
