#include "io/hf_import.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "core/error.h"
#include "io/name_map.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "tests/io/toy_table.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using test::Buffers;
using test::message_of;
using test::TempFolder;

const fs::path kGolden = fs::path(STRAIT_SOURCE_DIR) / "tests/golden";

/// A table for the model with weights of zero, parts fused as in the layers.
std::unique_ptr<core::ParamTable> table_for(const config::Model& model, DType dtype) {
  auto table = std::make_unique<core::ParamTable>(dtype);
  test::add_parts(*table, name_map(model), model.ffn.moe.n_experts);
  table->allocate(Device::cpu);
  for (const core::Param& param : table->params()) {
    std::memset(param.weight.data, 0, param.weight.bytes());
  }
  return table;
}

std::map<std::string, std::vector<double>> part_values(const core::ParamTable& table) {
  std::map<std::string, std::vector<double>> out;
  for (const core::Part& part : table.parts()) {
    out[part.name] = test::values(part.view(part.param->weight));
  }
  return out;
}

class HfImportOfGolden : public ::testing::TestWithParam<std::tuple<const char*, DType>> {};

TEST_P(HfImportOfGolden, FillsEveryPartWithItsTensor) {
  const auto [name, dtype] = GetParam();
  const config::Model model = model_from_hf(kGolden / name);
  const auto table = table_for(model, dtype);
  EXPECT_TRUE(load_hf_weights(kGolden / name, *table, model, Stream{}).empty());
  const SafetensorsReader reader(kGolden / name);
  std::map<std::string, std::vector<double>> want;  // experts concatenate in their order
  for (const NameMapEntry& entry : name_map(model)) {
    const std::vector<double> tensor = reader.read<double>(entry.hf);
    want[entry.part].insert(want[entry.part].end(), tensor.begin(), tensor.end());
  }
  EXPECT_EQ(part_values(*table), want);
}

INSTANTIATE_TEST_SUITE_P(
    Golden, HfImportOfGolden,
    ::testing::Combine(::testing::Values("llama_mha", "llama_gqa", "qwen3_gqa", "qwen3_moe",
                                         "qwen3_moe_unnormed", "deepseek_v3_mla_dense",
                                         "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora"),
                       ::testing::Values(DType::f32, DType::f64)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param)) + "_" + name_of(std::get<1>(info.param));
    });

/// A golden checkpoint whose tensors can be changed before it is written again.
class HfImportChanged : public ::testing::Test {
 protected:
  void open(const std::string& name) {
    model_ = model_from_hf(kGolden / name);
    reader_ = std::make_unique<SafetensorsReader>(kGolden / name);
    for (const std::string& tensor : reader_->names()) add(tensor, tensor);
  }
  /// `name` with the contents of the stored tensor `from`.
  void add(const std::string& name, const std::string& from) {
    tensors_[name] = {name, "F32", reader_->info(from).shape,
                      [this, from] { return reader_->bytes(from); }};
  }
  /// The notes, or the message of the refusal.
  std::string load() {
    std::vector<TensorSource> sources;
    for (const auto& [name, source] : tensors_) sources.push_back(source);
    write_safetensors(folder_ / "model.safetensors", std::move(sources));
    const auto table = table_for(model_, DType::f32);
    std::string notes;
    const std::string error = message_of<core::InputError>([&] {
      for (const std::string& note : load_hf_weights(folder_.path(), *table, model_, Stream{})) {
        notes += note + "; ";
      }
    });
    if (error.empty()) return notes;
    for (const auto& [part, values] : part_values(*table)) {
      EXPECT_EQ(values, std::vector<double>(values.size(), 0.0)) << part << " was written";
    }
    return error;
  }
  void expect(const std::string& part_of_message) {
    const std::string message = load();
    EXPECT_NE(message.find(part_of_message), std::string::npos) << message;
  }

  TempFolder folder_;
  config::Model model_;
  std::unique_ptr<SafetensorsReader> reader_;
  std::map<std::string, TensorSource> tensors_;
};

TEST_F(HfImportChanged, MissingTensorsAreNamed) {
  open("qwen3_moe");
  tensors_.erase("model.layers.1.mlp.experts.3.up_proj.weight");
  tensors_.erase("model.norm.weight");
  expect("2 tensors are missing: 'model.layers.1.mlp.experts.3.up_proj.weight', 'model.norm");
}

TEST_F(HfImportChanged, ExtraTensorsAreNamed) {
  open("llama_mha");
  add("model.layers.0.self_attn.q_proj.bias", "model.norm.weight");
  expect("1 tensors have no place in the model: 'model.layers.0.self_attn.q_proj.bias'");
}

TEST_F(HfImportChanged, MisshapenTensorsAreNamed) {
  open("llama_gqa");
  add("model.layers.1.self_attn.k_proj.weight", "model.layers.1.self_attn.q_proj.weight");
  expect(
      "'model.layers.1.self_attn.k_proj.weight' is [64, 32] F32, the model needs [32, 32] for "
      "layers.1.attn.k.weight");
}

TEST_F(HfImportChanged, IntegersAreNotWeights) {
  open("llama_gqa");
  tensors_["model.norm.weight"].dtype = "I32";
  expect("'model.norm.weight' is [32] I32, expected F64, F32, BF16 or F16");
}

TEST_F(HfImportChanged, PredictionLayersOfDeepseekAreLeftOutWithANote) {
  open("deepseek_v3_mla_moe");
  add("model.layers.2.enorm.weight", "model.norm.weight");
  add("model.layers.61.shared_head.head.weight", "lm_head.weight");
  const std::string notes = load();
  EXPECT_NE(notes.find("model.layers.2.enorm.weight belongs to a multi-token"), std::string::npos)
      << notes;
  EXPECT_NE(notes.find("model.layers.61.shared_head"), std::string::npos) << notes;
}

TEST_F(HfImportChanged, LayersPastTheLastAreRefusedElsewhere) {
  open("llama_mha");
  add("model.layers.2.input_layernorm.weight", "model.norm.weight");
  expect("'model.layers.2.input_layernorm.weight'");
}

TEST_F(HfImportChanged, RotaryTablesAreLeftOut) {
  open("llama_mha");
  add("model.layers.0.self_attn.rotary_emb.inv_freq", "model.norm.weight");
  EXPECT_NE(load().find("inv_freq is a rotary table"), std::string::npos);
}

TEST_F(HfImportChanged, TiedHeadMayOnlyRepeatTheEmbedding) {
  open("llama_gqa");
  add("lm_head.weight", "model.embed_tokens.weight");
  EXPECT_NE(load().find("lm_head.weight repeats the tied embedding"), std::string::npos);
  Buffers buffers;
  const Tensor other = buffers.normal(DType::f32, {97, 32});
  tensors_["lm_head.weight"] = host_source("lm_head.weight", other);
  expect("no place in the model: 'lm_head.weight'");
}

TEST(HfImport, TableAndModelMustAgree) {
  const fs::path folder = kGolden / "llama_mha";
  const config::Model model = model_from_hf(folder);
  const auto message = [&](const config::Model& other) {
    const auto table = table_for(other, DType::f64);
    return message_of<core::InputError>([&] { load_hf_weights(folder, *table, model, Stream{}); });
  };
  config::Model wide = model;
  wide.ffn.d_ff = 50;
  EXPECT_NE(message(wide).find("parameter layers.0.ffn.gate.weight has [50, 32] where "),
            std::string::npos)
      << message(wide);
  config::Model normed = model;
  normed.attention.qk_norm = true;
  EXPECT_NE(message(normed).find("k_norm.weight: the checkpoint's layout"), std::string::npos)
      << message(normed);
  config::Model tied = model;
  tied.tie_embeddings = true;
  EXPECT_NE(message(tied).find("has no parameter lm_head.weight"), std::string::npos)
      << message(tied);
}

TEST(HfImport, ShardedParametersAreRefused) {
  const fs::path folder = kGolden / "llama_mha";
  const config::Model model = model_from_hf(folder);
  core::ParamTable table(DType::f32);
  table.add({.name = "embed.weight",
             .shape = {97, 32},
             .shard = {.dim = 1, .axis = core::Axis::tp, .parts = 2, .index = 0}});
  table.allocate(Device::cpu);
  EXPECT_NE(message_of<core::RuntimeFault>([&] {
              load_hf_weights(folder, table, model, Stream{});
            }).find("embed.weight is sharded"),
            std::string::npos);
}

}  // namespace
}  // namespace strait::io
