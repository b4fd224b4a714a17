#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/train/program.h"
#include "train/load_config.h"
#include "train/plan_report.h"

// The program `plan` and the report behind it.
namespace strait::test {
namespace {

using nlohmann::json;

json plan(const std::string& arguments) {
  const Outcome outcome = run_program("plan", "--json " + arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  return json::parse(outcome.output);
}

/// Sum of `key` over a list of objects.
double sum(const json& list, const char* key) {
  double total = 0;
  for (const json& object : list) total += object.at(key).get<double>();
  return total;
}

TEST(Plan, PaperMixtureInNumbers) {
  const json report = plan("--config ccgqa_moe.json");
  const json& parameters = report.at("parameters");
  EXPECT_NEAR(parameters.at("total").get<double>(), 1.49e9, 5e6);
  EXPECT_NEAR(parameters.at("active").get<double>(), 0.34e9, 5e6);
  EXPECT_EQ(parameters.at("non_embedding").get<std::int64_t>(),
            parameters.at("total").get<std::int64_t>() - 50304 * 2048);
  EXPECT_EQ(sum(parameters.at("parts"), "total"), parameters.at("total").get<double>());
  // 28 layers of 2 kv heads of 128, keys and values, two bytes each: 1/8 of MHA's.
  EXPECT_EQ(report.at("cache_bytes_per_token"), 28 * 2 * 2 * 128 * 2);
}

TEST(Plan, FlopsPerTokenByPart) {
  const json report = plan("--config dense_gqa");
  const json& flops = report.at("training_flops_per_token");
  EXPECT_NEAR(sum(flops.at("parts"), "flops"), flops.at("total").get<double>(), 1.0);
  // By hand: 6 x (weights in layers + head), and 3 x 24 layers x 4 H d x S / 2 of attention.
  const double D = 2048, attention = 2.5 * D * D, ffn = 3 * D * 6656;
  EXPECT_NEAR(flops.at("total").get<double>(),
              6 * (24 * (attention + ffn) + 50304 * D) + 3 * 24 * 4 * D * 2048, 1.0);
  EXPECT_EQ(flops.at("peak_flops"), 989.4e12);
}

TEST(Plan, MuonKeepsOneStateOfMatricesAndLittleBeside) {
  const json adamw = plan("--config dense_mha"),
             muon = plan("--config dense_mha --set optim.kind=muon");
  const auto bytes = [](const json& report, const char* category) {
    return report.at("memory_bytes").at(category).get<double>();
  };
  // One f32 less for each weight but embedding and norms.
  const double matrices = muon.at("parameters").at("non_embedding").get<double>();
  EXPECT_NEAR(bytes(adamw, "optimizer") - bytes(muon, "optimizer"), 4 * matrices, 1e-3 * matrices);
  EXPECT_LE(bytes(muon, "scratch"), bytes(adamw, "scratch") + 4 * 4 * double{1 << 24});
}

TEST(Plan, MemoryIsThatOfATrainingRank) {
  const std::string arguments =
      "--config quickstart --set train.batch_size=8 --set train.micro_batch=2";
  const json memory = plan(arguments + " --ranks 2").at("memory_bytes");
  const Outcome dry = run_train(arguments + " --dry-run", 2);
  ASSERT_EQ(dry.code, 0) << dry.output;
  for (const char* category : {"weights", "optimizer", "activations", "scratch", "total"}) {
    const std::string bytes = std::to_string(memory.at(category).get<std::int64_t>()) + " B";
    EXPECT_NE(dry.output.find(bytes), std::string::npos) << category << ": " << bytes;
  }
}

TEST(Plan, TableAndLayer) {
  const json report = plan("--config dense_mla --set data.seq_len=16384");
  const json& rows = report.at("table_2").at("rows");
  ASSERT_EQ(rows.size(), 5u);
  const json& mla = rows.at(2);
  EXPECT_EQ(mla.at("variant"), "MLA");
  EXPECT_NEAR(mla.at("parameters").get<double>(), 11.53e6, 5e3);
  EXPECT_TRUE(mla.at("decode_flops_per_token").is_null());
  const json& layer = report.at("layer");
  EXPECT_EQ(sum(layer.at("items"), "parameters"), layer.at("parameters").get<double>());
  EXPECT_NEAR(layer.at("forward_flops").get<double>(), 3.165e12, 5e8);
  EXPECT_EQ(layer.at("decode").size(), 2u);
}

TEST(Plan, TextHasEverySection) {
  const Outcome outcome = run_program("plan", "--config ccgqa_moe");
  EXPECT_EQ(outcome.code, 0);
  for (const char* words :
       {"1493301304", "337246264", "3 x forward", "989.4 TFLOP/s", "28672 bytes per token",
        "activations", "Table II", "C1 2, C2 8", "conv1"}) {
    EXPECT_NE(outcome.output.find(words), std::string::npos) << words << "\n" << outcome.output;
  }
}

TEST(Plan, EveryPresetHasAPlan) {
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(STRAIT_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".json") continue;
    const config::Config config = train::load_config({.name = entry.path().string()}, 1, true);
    const train::PlanReport report = train::make_plan_report(config, 1);
    EXPECT_GT(report.memory_bytes(), 0u) << entry.path();
    EXPECT_FALSE(json::parse(train::to_json(report)).empty());
    EXPECT_FALSE(train::to_text(report).empty());
  }
}

const std::string kBf16 = " --set precision.compute=bf16";

TEST(Plan, LayoutsLargerThanTheMachine) {
  const json report =
      plan("--config dense_ccgqa --set train.batch_size=512 --layout dp32tp4cp2" + kBf16);
  EXPECT_EQ(report.at("prediction").at("ranks"), 256);
  EXPECT_TRUE(report.at("prediction").at("exchange_s").is_null() ||
              report.at("prediction").at("exchange_s") > 0);
  EXPECT_GT(report.at("exchange_bytes").at("total"), 0.0);
  const json one = plan("--config dense_ccgqa --set train.batch_size=512" + kBf16);
  EXPECT_EQ(one.at("exchange_bytes").at("total"), 0.0);
  EXPECT_LT(report.at("memory_bytes").at("total"), one.at("memory_bytes").at("total"));
  EXPECT_LT(report.at("prediction").at("core_s"), one.at("prediction").at("core_s"));
  // GPU-hours are those of all ranks.
  const json& p = report.at("prediction");
  EXPECT_NEAR(p.at("gpu_hours").get<double>(),
              p.at("steps").get<double>() * p.at("step_s").get<double>() * 256 / 3600, 1e-6);
}

TEST(Plan, MemoryHoldsBuffersOfRanksWithGpusOfTheirOwn) {
  const json one = plan("--config dense_ccgqa" + kBf16).at("memory_bytes");
  EXPECT_FALSE(one.contains("communication"));
  const json host = plan("--config quickstart --layout dp2").at("memory_bytes");
  EXPECT_FALSE(host.contains("communication"));
  const json two = plan("--config dense_ccgqa --layout tp2" + kBf16).at("memory_bytes");
  // Of the layers, and beside them.
  EXPECT_EQ(two.at("communication"), (230 + 24 * 12 + 8 * 12) << 20);
  double bytes = 0;
  for (const auto& [category, value] : two.items()) {
    if (category != "total") bytes += value.get<double>();
  }
  EXPECT_EQ(two.at("total").get<double>(), bytes);
}

TEST(Plan, BytesByFormulaAreThoseCounted) {
  const json report = plan("--config dense_ccgqa --layout dp2tp2cp2");
  const json& counted = report.at("exchange_bytes");
  ASSERT_FALSE(report.at("bytes_sent").empty());
  for (const json& term : report.at("bytes_sent")) {
    EXPECT_EQ(counted.at(term.at("boundary").get<std::string>()), term.at("bytes")) << term;
  }
}

TEST(Plan, Formats) {
  const std::string config = "--config dense_cca --layout dp8" + kBf16;
  const json report = plan(config);
  const Outcome csv = run_program("plan", "--format csv " + config);
  EXPECT_EQ(csv.code, 0) << csv.output;
  EXPECT_TRUE(csv.output.starts_with("section,name,value\n")) << csv.output;
  const auto expect_row = [&](const std::string& name, std::int64_t value) {
    const std::string row = "\n" + name + "," + std::to_string(value) + "\n";
    EXPECT_NE(csv.output.find(row), std::string::npos) << row << csv.output;
  };
  expect_row("parameters,all", report.at("parameters").at("total"));
  expect_row("memory bytes,total", report.at("memory_bytes").at("total"));
  expect_row("exchange bytes,all",
             static_cast<std::int64_t>(report.at("exchange_bytes").at("total").get<double>()));
  const Outcome text = run_program("plan", config);
  EXPECT_NE(text.output.find("predicted step on 8 x NVIDIA H100"), std::string::npos)
      << text.output;
  EXPECT_NE(text.output.find("GPU-hours"), std::string::npos) << text.output;
  const Outcome f32 = run_program("plan", config + " --set precision.compute=f32");
  EXPECT_NE(f32.output.find("no predicted step"), std::string::npos) << f32.output;
}

TEST(Plan, RefusesBadInput) {
  const auto expect_refused = [](const std::string& arguments, const std::string& words) {
    const Outcome outcome = run_program("plan", arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_NE(outcome.output.find(words), std::string::npos) << outcome.output;
  };
  expect_refused("", "--config is missing");
  expect_refused("--config ccgqa_mo", "ccgqa_moe");
  expect_refused("--config tiny_gqa --jsn", "nearest is --json");
  expect_refused("--config tiny_gqa --set model.d_modl=3", "model.d_model");
  expect_refused("--config tiny_gqa --ranks 0", "--ranks 0: expected a whole number");
  expect_refused("--config tiny_gqa --ranks 2x", "--ranks 2x: expected a whole number");
  expect_refused("--config tiny_gqa --ranks 3", "train.batch_size");
  expect_refused("--config tiny_gqa --layout dp2xp2", "expected factors such as dp2");
  expect_refused("--config tiny_gqa --layout dp2 --ranks 4", "--layout dp2 has 2 ranks");
  expect_refused("--config tiny_gqa --format yaml", "expected text, csv or json");
  expect_refused("--config tiny_gqa --device abacus", "rates-abacus.json");
}

}  // namespace
}  // namespace strait::test
