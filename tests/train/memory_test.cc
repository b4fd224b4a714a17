#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/train/program.h"

// What ranks take, beside what was planned for them.
namespace strait::test {
namespace {

using nlohmann::json;

// Large enough that a program's own few MiB, which no plan knows, do not decide.
const std::string kModel =
    "--config tiny_ccgqa_moe --set model.d_model=512 --set model.n_layers=4"
    " --set model.attention.head_dim=64 --set model.ffn.moe.d_expert=768"
    " --set data.seq_len=512 --set train.batch_size=2 --set train.steps=2"
    " --set optim.warmup_steps=1 --set eval.sequences=2 --set eval.sample_tokens=0"
    " --set train.micro_batch=1";

/// The event of a run that tells its ranks' memory.
json memory_event(const std::string& name, const std::string& mesh, int ranks) {
  const auto run = fresh_folder("memory_" + name) / "run";
  const Outcome outcome = run_train(kModel + mesh + " --set run.dir=" + run.string(), ranks);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  std::istringstream lines(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json event = json::parse(line);
    if (event.value("event", "") == "memory") return event;
  }
  ADD_FAILURE() << name << ": no memory event";
  return {};
}

double bytes_of(const json& event, const char* category) {
  return event.at("categories").at(category).get<double>();
}

/// The event of a run each of whose ranks took what was planned. Expert ranks have room for all
/// tokens, most of which others get: `spared` is the share of activations and scratch that they may
/// leave untouched, and so not resident.
json checked(const std::string& name, const std::string& mesh, int ranks, double spared = 0) {
  const json event = memory_event(name, mesh, ranks);
  EXPECT_EQ(event.at("ranks").size(), static_cast<std::size_t>(ranks));
  const double unused = spared * (bytes_of(event, "activations") + bytes_of(event, "scratch"));
  for (const json& rank : event.at("ranks")) {
    const double planned = rank.at("planned_bytes"), measured = rank.at("measured_bytes");
    EXPECT_GT(planned, 2e8) << name;
    if (kMemoryIsShadowed) continue;
    EXPECT_LE(measured, 1.02 * planned) << name << ": " << rank.dump();
    EXPECT_GE(measured, 0.98 * planned - unused) << name << ": " << rank.dump();
  }
  return event;
}

TEST(RankMemory, FollowsThePlanAndIsDivided) {
  const json one = checked("one", "", 1);
  const auto share = [&](const json& event, const char* category) {
    return bytes_of(event, category) / bytes_of(one, category);
  };
  // Whole parameters go to data ranks, so that shares are not quite even.
  const json dp = checked("dp", "", 2);
  EXPECT_LE(share(dp, "optimizer"), 0.51);
  const json ep = checked("ep", " --set parallel.ep=2", 2, 0.5);
  EXPECT_LE(share(ep, "optimizer"), 0.51);
  EXPECT_LE(share(ep, "weights"), 0.6);
  // Rows of norms are divided, those that a whole layer reads are gathered.
  const json tp = checked("tp", " --set parallel.tp=2", 2);
  EXPECT_LE(share(tp, "weights"), 0.52);
  EXPECT_LE(share(tp, "activations"), 0.6);
  const json cp = checked("cp", " --set parallel.cp=2", 2);
  EXPECT_LE(share(cp, "activations"), 0.52);
}

}  // namespace
}  // namespace strait::test
