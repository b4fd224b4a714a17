#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/train/program.h"

// Looks into the attention layers during runs of the program.
namespace strait::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kRun =
    "--config tiny_ccgqa_moe --set model.n_layers=2 --set data.seq_len=40 --set train.batch_size=4"
    " --set train.micro_batch=2 --set train.steps=5 --set optim.warmup_steps=1"
    " --set eval.sequences=2 --set eval.sample_tokens=0 --set precision.compute=f64"
    " --set run.device=cpu";

std::vector<json> events(const fs::path& run, const std::string& name) {
  std::vector<json> out;
  std::istringstream lines(read_text(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json object = json::parse(line);
    if (object.value("event", "") == name) out.push_back(std::move(object));
  }
  return out;
}

TEST(StabilityRun, IsWrittenWhenAskedForAndChangesNothing) {
  const fs::path folder = fresh_folder("stability/one");
  const Outcome plain = run_train(kRun + " --set run.dir=" + (folder / "plain").string());
  const Outcome probed =
      run_train(kRun + " --set eval.probe_every=2 --set run.dir=" + (folder / "probed").string());
  ASSERT_EQ(plain.code, 0) << plain.output;
  ASSERT_EQ(probed.code, 0) << probed.output;
  EXPECT_EQ(series(folder / "plain", "loss"), series(folder / "probed", "loss"));
  EXPECT_EQ(series(folder / "plain", "grad_norm"), series(folder / "probed", "grad_norm"));
  EXPECT_TRUE(events(folder / "plain", "probe").empty());
  const std::vector<json> probes = events(folder / "probed", "probe");
  ASSERT_EQ(probes.size(), 3u);
  EXPECT_EQ(probes[0].at("step"), 2);
  EXPECT_EQ(probes[2].at("step"), 5);
  for (const json& probe : probes) {
    EXPECT_GT(probe.at("tokens"), 40);
    ASSERT_EQ(probe.at("layers").size(), 2u);
    for (const json& layer : probe.at("layers")) {
      EXPECT_GE(layer.at("rank_v").get<double>(), 1.0);
      EXPECT_LE(layer.at("rank_v").get<double>(), 80.0);
      EXPECT_GE(layer.at("rank_out").get<double>(), 1.0);
      EXPECT_LE(layer.at("tau_min"), layer.at("tau_mean"));
      EXPECT_LE(layer.at("tau_mean"), layer.at("tau_max"));
      EXPECT_EQ(layer.at("conv0_taps").size(), 2u);
      EXPECT_EQ(layer.at("conv1_taps").size(), 2u);
      EXPECT_TRUE(std::isfinite(layer.at("max_logit").get<double>()));
    }
  }
}

void expect_close(const json& got, const json& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    for (const auto& [key, value] : want[i].items()) {
      const json& other = got[i].at(key);
      const auto list = [](const json& x) { return x.is_array() ? x : json::array({x}); };
      ASSERT_EQ(list(other).size(), list(value).size());
      for (std::size_t j = 0; j < list(value).size(); ++j) {
        const double number = list(value)[j];
        EXPECT_NEAR(list(other)[j].get<double>(), number, 1e-6 * std::abs(number))
            << key << " of layer " << i;
      }
    }
  }
}

/// Fewer tokens than are measured at most, so all are, wherever they lie.
TEST(StabilityRun, IsTheSameOnEveryLayout) {
  const fs::path folder = fresh_folder("stability/layouts");
  std::vector<json> first;
  int count = 0;
  const std::pair<const char*, int> layouts[] = {
      {"", 1},
      {" --set parallel.tp=2", 2},
      {" --set parallel.cp=2", 2},
      {" --set parallel.cp=2 --set parallel.cp_exchange=ring", 2},
      {" --set parallel.ep=2", 2}};
  for (const auto& [sets, ranks] : layouts) {
    SCOPED_TRACE(sets);
    const fs::path run = folder / ("run" + std::to_string(count++));
    const Outcome outcome =
        run_train(kRun + sets + " --set eval.probe_every=3 --set run.dir=" + run.string(), ranks);
    ASSERT_EQ(outcome.code, 0) << outcome.output;
    const std::vector<json> probes = events(run, "probe");
    ASSERT_EQ(probes.size(), 2u);
    if (first.empty()) first = probes;
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(probes[i].at("tokens"), first[i].at("tokens"));
      expect_close(probes[i].at("layers"), first[i].at("layers"));
    }
  }
}

TEST(StabilityRun, NeedsValidationTokens) {
  const Outcome outcome =
      run_train("--dry-run " + kRun + " --set eval.probe_every=2 --set data.val_documents=0");
  EXPECT_EQ(outcome.code, 2) << outcome.output;
  EXPECT_NE(outcome.output.find("eval.probe_every = 2"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace strait::test
