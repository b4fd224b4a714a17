#include "io/name_map.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "core/error.h"
#include "io/hf_import.h"
#include "io/safetensors.h"
#include "tests/support/message_of.h"

namespace strait::io {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(STRAIT_SOURCE_DIR) / "tests/golden";
const char* const kCases[] = {"llama_mha",           "llama_gqa",
                              "qwen3_gqa",           "qwen3_moe",
                              "qwen3_moe_unnormed",  "deepseek_v3_mla_dense",
                              "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora",
                              "zaya_ccgqa_moe",      "zaya_sliding"};

class NameMapOfGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(NameMapOfGolden, EqualsTheCheckpointsTensorsAndShapes) {
  const SafetensorsReader reader(kGolden / GetParam());
  std::map<std::string, std::vector<std::int64_t>> got, want;
  for (const NameMapEntry& entry : name_map(model_from_hf(kGolden / GetParam()))) {
    const bool first = got.try_emplace(entry.hf, entry.shape).second;
    EXPECT_TRUE(first || !entry.view.same_order()) << entry.hf << " twice";
    EXPECT_EQ(got[entry.hf], entry.shape);
  }
  for (const std::string& name : reader.names()) want[name] = reader.info(name).shape;
  EXPECT_EQ(got, want);
}

TEST_P(NameMapOfGolden, CoversEveryElementOnce) {
  std::map<std::string, std::vector<int>> covered;
  for (const NameMapEntry& entry : name_map(model_from_hf(kGolden / GetParam()))) {
    std::int64_t elements = 1;
    for (const std::int64_t size : entry.shape) elements *= size;
    std::vector<int>& counts = covered[entry.hf];
    counts.resize(static_cast<std::size_t>(elements));
    if (entry.view.same_order()) {
      for (int& count : counts) ++count;
    }
    if (entry.view.same_order()) continue;
    for (const std::int64_t at : entry.view.indices()) ++counts.at(static_cast<std::size_t>(at));
  }
  for (auto& [name, counts] : covered) {
    for (const int count : counts) ASSERT_EQ(count, 1) << name;
  }
}

TEST_P(NameMapOfGolden, UsesEachPartOrExpertOnce) {
  const config::Model model = model_from_hf(kGolden / GetParam());
  std::set<std::pair<std::string, std::int64_t>> seen;
  std::map<std::string, std::int64_t> experts;
  for (const NameMapEntry& entry : name_map(model)) {
    if (entry.constant) continue;
    EXPECT_TRUE(seen.insert({entry.part, entry.expert}).second) << entry.part;
    if (entry.expert >= 0) ++experts[entry.part];
  }
  for (const auto& [part, count] : experts) EXPECT_EQ(count, model.ffn.moe.n_experts) << part;
}

TEST_P(NameMapOfGolden, FamilyIsTheOneInTheConfig) {
  const std::string name = GetParam();
  const std::string family = name_of(hf_family(model_from_hf(kGolden / name)));
  EXPECT_EQ((name + "_").rfind(family + "_", 0), 0u) << family;
}

INSTANTIATE_TEST_SUITE_P(Golden, NameMapOfGolden, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param); });

TEST(NameMap, LayerPatternDecidesWhichLayersAreMixtures) {
  config::Model model = model_from_hf(kGolden / "qwen3_moe");
  model.n_layers = 5;
  model.ffn.moe.first_dense = 1;
  model.ffn.moe.every = 2;
  std::set<std::string> routers;
  for (const NameMapEntry& entry : name_map(model)) {
    if (entry.part.ends_with("router.weight")) routers.insert(entry.hf);
  }
  EXPECT_EQ(routers, (std::set<std::string>{"model.layers.2.mlp.gate.weight",
                                            "model.layers.4.mlp.gate.weight"}));
}

TEST(NameMap, ModelsWithoutALayoutAreRefusedByName) {
  using Change = void (*)(config::Model&);
  const std::tuple<const char*, Change, const char*> cases[] = {
      {"qwen3_moe", [](auto& m) { m.attention.qk_norm = false; }, "qk_norm"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.n_shared = 1; }, "shared"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.selection_bias = true; }, "selection_bias"},
      {"deepseek_v3_mla_moe", [](auto& m) { m.ffn.moe.every = 2; }, "every = 2"},
      {"deepseek_v3_mla_moe", [](auto& m) { m.ffn.moe.selection_bias = false; }, "without model."},
      {"deepseek_v3_mla_moe", [](auto& m) { m.ffn.moe.n_shared = 0; }, "shared"},
      {"deepseek_v3_mla_moe", [](auto& m) { m.attention.qk_norm = true; }, "qk_norm"},
      {"llama_gqa", [](auto& m) { m.residual_scale = true; }, "residual_scale"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.router.kind = config::RouterKind::mlp; }, "mlp"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.skip = true; }, "skip"},
      {"zaya_ccgqa_moe", [](auto& m) { m.ffn.moe.skip = false; }, "skip"},
      {"zaya_ccgqa_moe", [](auto& m) { m.attention.cca.convs = 1; }, "convs = 2"},
  };
  for (const auto& [name, change, why] : cases) {
    config::Model model = model_from_hf(kGolden / name);
    change(model);
    const std::string message = test::message_of<core::InputError>([&] { name_map(model); });
    EXPECT_NE(message.find(why), std::string::npos) << name << ": " << message;
  }
}

/// Settings that name tensors as the family does, and compute something else.
TEST(NameMap, WhatNoClassOfTransformersComputesIsOurOwn) {
  using Change = void (*)(config::Model&);
  const std::tuple<const char*, Change, const char*> cases[] = {
      {"llama_gqa", [](auto& m) { m.attention.window = 8; }, "window"},
      {"llama_gqa", [](auto& m) { m.attention.rope.fraction = 0.5; }, "rope.fraction"},
      {"qwen3_gqa", [](auto& m) { m.attention.rope.interleaved = true; }, "interleaved"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.score = config::RouterScore::sigmoid; }, "score"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.scale = 2; }, "scale"},
      {"qwen3_moe", [](auto& m) { m.ffn.moe.n_shared = 1; }, "shared"},
      {"deepseek_v3_mla_moe", [](auto& m) { m.attention.mla.norm_eps = 1e-5; }, "norm_eps"},
      {"deepseek_v3_mla_moe", [](auto& m) { m.ffn.moe.score = config::RouterScore::softmax; },
       "score"},
      {"zaya_ccgqa_moe", [](auto& m) { m.ffn.moe.top_k = 2; }, "top_k"},
      {"zaya_ccgqa_moe", [](auto& m) { m.attention.cca.qk_mean = false; }, "qk_mean"},
      {"zaya_ccgqa_moe", [](auto& m) { m.attention.cca.norm = false; }, "cca.norm"},
  };
  for (const auto& [name, change, why] : cases) {
    config::Model model = model_from_hf(kGolden / name);
    EXPECT_NE(exact_family(model).family, HfFamily::strait) << name;
    change(model);
    const ExactFamily exact = exact_family(model);
    EXPECT_EQ(exact.family, HfFamily::strait) << name;
    EXPECT_NE(exact.why.find(why), std::string::npos) << name << ": " << exact.why;
  }
}

TEST(NameMap, ModelsThatSeeTheFutureAreNotExported) {
  config::Model model = model_from_hf(kGolden / "llama_gqa");
  model.attention.causal = false;
  const std::string message = test::message_of<core::InputError>([&] { exact_family(model); });
  EXPECT_NE(message.find("model.attention.causal"), std::string::npos) << message;
}

}  // namespace
}  // namespace strait::io
