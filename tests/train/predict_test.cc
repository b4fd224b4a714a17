#include "train/predict.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/train/program.h"
#include "train/load_config.h"

// Predicted steps: by hand for rates that are easy, and beside steps that were measured.
namespace strait::test {
namespace {

using nlohmann::json;

const std::string kResults = STRAIT_SOURCE_DIR "/tests/bench/results/";

io::Rates measured_rates() {
  return io::read_rates(kResults + "rates-h100.json");
}

train::Prediction predict(const std::string& config, const std::vector<std::string>& sets,
                          int ranks, const io::Rates& rates) {
  const config::Config resolved = train::load_config({config, sets}, ranks, true);
  const auto counts = model::count_model(resolved.model);
  const auto work = train::step_work(resolved, ranks, counts);
  const auto prediction = train::predict(work, resolved, ranks, rates);
  EXPECT_TRUE(prediction.has_value());
  return prediction.value_or(train::Prediction{});
}

/// Steps of presets that the rates were not taken from: another run, and other batches and models.
TEST(Predict, IsWithinATenthOfMeasuredSteps) {
  const io::Rates rates = measured_rates();
  int compared = 0;
  for (const char* file :
       {"2026-11-26-h100-layers/steps.json", "2026-11-26-h100-layers/steps_more.json"}) {
    const json bench = json::parse(read_text(kResults + file));
    EXPECT_EQ(bench.at("device"), rates.device);
    for (const auto& [preset, row] : bench.at("presets").items()) {
      SCOPED_TRACE(std::string(file) + ": " + preset);
      const std::string name = preset.substr(0, preset.find(' '));
      const bool whole = name.find('_') != std::string::npos;
      std::vector<std::string> sets;
      if (preset.ends_with(" x4")) sets = {"train.batch_size=16", "train.micro_batch=4"};
      const train::Prediction p =
          predict("bench/" + std::string(whole ? "" : "dense_") + name + ".json", sets, 1, rates);
      const double measured = 1e-3 * row.at("step_ms").get<double>();
      RecordProperty(preset, std::to_string(p.step() / measured));
      std::printf("%s: %.1f ms predicted, %.1f measured, ratio %.3f\n", preset.c_str(),
                  1e3 * p.step(), 1e3 * measured, p.step() / measured);
      EXPECT_NEAR(p.step() / measured, 1.0, 0.10);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 8);
}

/// Of the same preset on several ranks of one host, relative to two tensor ranks: the card was a
/// relative of the one that computation's rates are from.
TEST(Predict, RanksScaleAsMeasured) {
  const json bench = json::parse(read_text(kResults + "2026-11-26-h200-ranks.json"));
  const auto ratio = [&](const json& row) {
    const train::Prediction p = predict(
        "bench/dense_ccgqa",
        {"train.batch_size=" + row.at("batch_size").dump(), "train.micro_batch=4",
         "parallel.tp=" + std::to_string(row.at("layout").get<std::string>().starts_with("tp")
                                             ? row.at("ranks").get<int>()
                                             : 1)},
        row.at("ranks"), measured_rates());
    EXPECT_TRUE(p.exchange.has_value());
    std::printf("%s: %.1f ms predicted, %.1f measured\n",
                row.at("layout").get<std::string>().c_str(), 1e3 * p.step(),
                row.at("step_ms").get<double>());
    return 1e3 * p.step() / row.at("step_ms").get<double>();
  };
  const double first = ratio(bench.at("runs").at(0));
  for (const json& row : bench.at("runs")) {
    EXPECT_NEAR(ratio(row) / first, 1.0, 0.10) << row.at("layout");
  }
}

/// Rates of one FLOP and one byte a second add up what a step does.
TEST(Predict, AddsUpWorkAndLaunches) {
  io::Rates rates;
  rates.copy = 2;
  rates.ops["Gemm"] = {.flops = 1};
  rates.cores = {{.key_dim = 128, .length = 1, .forward = 1, .backward = 1}};
  const config::Config config = train::load_config({"bench/dense_mha"}, 1, true);
  const auto counts = model::count_model(config.model);
  const auto work = train::step_work(config, 1, counts);
  const auto p = train::predict(work, config, 1, rates);
  ASSERT_TRUE(p.has_value());
  // Forward, and two products backward, of every weight but the embedding's lookup.
  const double tokens = 4 * 4096;
  EXPECT_NEAR(p->products / (3 * counts.flops_per_token() * tokens), 1.0, 1e-12);
  const double pairs = model::document_pairs(config.model, 4096) * 4;
  EXPECT_NEAR(p->core / (3.5 * counts.core_flops_per_pair * pairs), 1.0, 1e-12);
  double bytes = 0;
  std::int64_t launches = 0;
  for (const auto& [name, op] : work.ops) {
    launches += op.launches;
    if (name != "Gemm" && !name.starts_with("Attention")) bytes += op.work.bytes;
  }
  EXPECT_NEAR(p->rest / (bytes / 2), 1.0, 1e-12);
  EXPECT_EQ(p->exchange, 0.0);
  EXPECT_NE(p->without_rate.find("AdamW"), std::string::npos) << p->without_rate;
  rates.launch = 1e9;
  const auto slow = train::predict(work, config, 1, rates);
  EXPECT_NEAR((slow->compute() - p->compute()) / (1e9 * static_cast<double>(launches)), 1.0, 1e-9);
}

TEST(Predict, MicroBatchesRepeatAllButTheUpdate) {
  const auto seconds = [](const std::string& batch) {
    return predict("bench/dense_cca", {"train.micro_batch=4", "train.batch_size=" + batch}, 1,
                   measured_rates())
        .step();
  };
  EXPECT_NEAR(seconds("12") - seconds("8"), seconds("16") - seconds("12"), 1e-9);
  EXPECT_LT(seconds("16"), 4 * seconds("4"));
}

TEST(Predict, RecomputedBlocksRunTheCoreTwiceForward) {
  const io::Rates rates = measured_rates();
  const auto none = predict("bench/dense_mha", {}, 1, rates);
  const auto block = predict("bench/dense_mha", {"train.recompute=block"}, 1, rates);
  EXPECT_GT(block.core, 1.2 * none.core);
  EXPECT_GT(block.products, 1.2 * none.products);
}

TEST(Predict, RanksShareWorkAndExchangeBytes) {
  io::Rates rates = measured_rates();
  rates.links = {};
  const auto one =
      predict("bench/dense_mha", {"train.batch_size=8", "train.micro_batch=4"}, 1, rates);
  const auto two = predict(
      "bench/dense_mha", {"train.batch_size=8", "train.micro_batch=4", "parallel.tp=2"}, 2, rates);
  EXPECT_NEAR(two.core, one.core / 2, 0.05 * one.core);
  EXPECT_FALSE(two.exchange.has_value());
  rates.links = {{.ranks = 2, .bytes = 1e11}, {.ranks = 8, .bytes = 2e11, .device = "fast"}};
  const auto linked = predict(
      "bench/dense_mha", {"train.batch_size=8", "train.micro_batch=4", "parallel.tp=2"}, 2, rates);
  ASSERT_TRUE(linked.exchange.has_value());
  // A sum and a gather of the residual's rows for each half of 24 blocks, forward and backward.
  EXPECT_GT(*linked.exchange, 24 * 2 * 2 * 2 * (8 * 4096 / 2) * 2048.0 * 2 / 1e11);
}

TEST(Predict, SaysWhereRatesAreOfOtherHeads) {
  const io::Rates rates = measured_rates();
  EXPECT_EQ(predict("bench/dense_ccgqa", {}, 1, rates).other_heads, "");
  const std::vector<std::string> narrow = {"model.attention.head_dim=96"};
  EXPECT_EQ(predict("bench/dense_ccgqa", narrow, 1, rates).other_heads,
            "attention forward of heads of 96");
  EXPECT_EQ(predict("bench/dense_mha", {"model.attention.head_dim=64"}, 1, rates).other_heads, "");
  const std::vector<std::string> small = {"model.attention.head_dim=64"};
  EXPECT_EQ(predict("bench/dense_ccgqa", small, 1, rates).other_heads, "");
  io::Rates hopper = rates;
  hopper.ops.erase("CcaMixFwd general");
  hopper.general_cores = {};
  EXPECT_EQ(predict("bench/dense_ccgqa", small, 1, hopper).other_heads, "CCA mix of heads of 64");
  EXPECT_EQ(predict("bench/dense_ccgqa", narrow, 1, hopper).other_heads,
            "attention core, CCA mix of heads of 96");
}

/// Rates of general kernels are taken for ops that have none for Hopper, and for these alone.
TEST(Predict, TakesTheRatesOfTheKernelsThatRun) {
  const auto seconds = [](const std::vector<std::string>& sets, const io::Rates& rates) {
    return predict("bench/dense_ccgqa", sets, 1, rates);
  };
  const io::Rates rates = measured_rates();
  io::Rates slow = rates;
  for (const char* op : {"CcaMixFwd general", "CcaMixBwd general"}) slow.ops.at(op).bytes /= 10;
  for (io::CoreRate& core : slow.general_cores) core.backward /= 10;
  const std::vector<std::string> wide = {"model.attention.head_dim=128"},
                                 small = {"model.attention.head_dim=64"},
                                 odd = {"model.attention.head_dim=96"},
                                 no_norm = {"model.attention.cca.norm=false"};
  EXPECT_EQ(seconds(wide, slow).step(), seconds(wide, rates).step());
  for (const auto& sets : {small, no_norm}) {
    EXPECT_GT(seconds(sets, slow).rest, 2 * seconds(sets, rates).rest);
    EXPECT_EQ(seconds(sets, slow).core, seconds(sets, rates).core);
  }
  EXPECT_GT(seconds(odd, slow).core, 5 * seconds(odd, rates).core);
}

TEST(Predict, FindsTheRatesOfScaledSums) {
  const train::Prediction p =
      predict("tiny_zaya.json", {"precision.compute=bf16"}, 1, measured_rates());
  EXPECT_EQ(p.without_rate.find("ResidualScale"), std::string::npos) << p.without_rate;
}

TEST(Predict, NamesTheDeviceOfTheLinks) {
  const auto p = predict("bench/dense_mha", {"parallel.tp=2"}, 2, measured_rates());
  EXPECT_EQ(p.link_device, "2 x NVIDIA H200");
}

TEST(Predict, RatesAreOfBf16) {
  const config::Config config =
      train::load_config({"bench/dense_mha", {"precision.compute=f32"}}, 1, true);
  const auto work = train::step_work(config, 1, model::count_model(config.model));
  EXPECT_FALSE(train::predict(work, config, 1, measured_rates()).has_value());
}

TEST(Rates, RefuseMalformedFiles) {
  const std::filesystem::path file = fresh_folder("rates") / "rates.json";
  const std::string good = read_text(kResults + "rates-h100.json");
  const auto expect_refused = [&](json object, const std::string& words) {
    write_text(file, object.dump());
    try {
      io::read_rates(file);
      ADD_FAILURE() << words;
    } catch (const core::InputError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find(words), std::string::npos) << message;
      EXPECT_NE(message.find("rates.json"), std::string::npos) << message;
    }
  };
  const auto changed = [&](const char* key, const json& value) {
    json object = json::parse(good);
    object[key] = value;
    return object;
  };
  expect_refused(json::array(), "\"device\"");
  expect_refused(changed("copy_bytes_per_second", 0), "copy_bytes_per_second\" = 0");
  expect_refused(changed("copy_bytes_per_second", "fast"), "expected a number above 0");
  expect_refused(changed("ops", json::object()), "lacks \"Gemm\"");
  expect_refused(changed("attention", json::array()), "\"attention\" is empty");
  expect_refused(changed("general_attention", 3), "\"general_attention\": expected a list");
  expect_refused(changed("links", 3), "\"links\": expected a list");
  write_text(file, "{");
  EXPECT_THROW(io::read_rates(file), core::InputError);
}

}  // namespace
}  // namespace strait::test
