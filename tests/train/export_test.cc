#include "train/export.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/error.h"
#include "io/hf_import.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "tests/train/program.h"

// Import and export of Hugging Face folders are each other's inverse.
namespace strait::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kGolden = fs::path(STRAIT_SOURCE_DIR) / "tests/golden";
const char* const kCases[] = {"llama_mha",           "llama_gqa",
                              "qwen3_gqa",           "qwen3_moe",
                              "qwen3_moe_unnormed",  "deepseek_v3_mla_dense",
                              "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora",
                              "zaya_ccgqa_moe",      "zaya_sliding"};

void expect_same_tensors(const fs::path& a, const fs::path& b) {
  const io::SafetensorsReader left(a), right(b);
  ASSERT_EQ(left.names(), right.names());
  for (const std::string& name : left.names()) {
    EXPECT_EQ(left.info(name).shape, right.info(name).shape) << name;
    ASSERT_EQ(left.info(name).dtype, right.info(name).dtype) << name;
    ASSERT_EQ(left.bytes(name).size(), right.bytes(name).size()) << name;
    EXPECT_EQ(
        std::memcmp(left.bytes(name).data(), right.bytes(name).data(), left.bytes(name).size()), 0)
        << name;
  }
}

json config_of(const fs::path& folder) {
  return json::parse(read_text(folder / "config.json"));
}

class ExportOfGolden : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path golden() const { return kGolden / GetParam(); }
  fs::path to(const std::string& name) const {
    return fresh_folder("export/" + std::string(GetParam()) + "_" + name) / "hf";
  }
};

INSTANTIATE_TEST_SUITE_P(Golden, ExportOfGolden, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(ExportOfGolden, KeepsTensorsNamesAndConfig) {
  const fs::path folder = to("same");
  const train::ExportReport report =
      train::export_model({.source = {.run = "", .hf = golden()}, .to = folder});
  EXPECT_EQ(report.difference, 0);
  expect_same_tensors(golden(), folder);
  const json before = config_of(golden()), after = config_of(folder);
  for (const auto& [key, value] : before.items()) {
    // What follows from other keys, and rotations of layer types that do not occur.
    if (key == "transformers_version" || key == "rope_parameters") continue;
    ASSERT_TRUE(after.contains(key)) << key;
    EXPECT_EQ(after.at(key), value) << key;
  }
  for (const auto& [key, value] : after.at("rope_parameters").items()) {
    EXPECT_EQ(before.at("rope_parameters").at(key), value) << key;
  }
}

TEST_P(ExportOfGolden, ShardsHoldTheSameTensors) {
  const fs::path folder = to("shards");
  train::export_model({.source = {.run = "", .hf = golden()}, .to = folder, .shard_bytes = 30000});
  EXPECT_TRUE(fs::exists(folder / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  expect_same_tensors(golden(), folder);
}

TEST_P(ExportOfGolden, GoesThroughOurOwnArchitectureAndBack) {
  const fs::path own = to("own"), back = to("back");
  const train::ExportReport report =
      train::export_model({.source = {.run = "", .hf = golden()}, .to = own, .own = true});
  EXPECT_EQ(report.family.family, io::HfFamily::strait);
  EXPECT_EQ(report.difference, 0);
  EXPECT_TRUE(fs::exists(own / "modeling_strait.py"));
  train::export_model({.source = {.run = "", .hf = own}, .to = back});
  expect_same_tensors(golden(), back);
}

TEST_P(ExportOfGolden, NarrowTypesRoundEachElementOnce) {
  // Bits of the fraction, and the exponent below which steps become no finer.
  const std::tuple<io::HfDtype, const char*, int, int> kTypes[] = {
      {io::HfDtype::bf16, "BF16", 7, -126}, {io::HfDtype::f16, "F16", 10, -14}};
  for (const auto& [dtype, stored, bits, lowest] : kTypes) {
    const fs::path folder = to(stored);
    train::export_model({.source = {.run = "", .hf = golden()}, .to = folder, .dtype = dtype});
    const io::SafetensorsReader before(golden()), after(folder);
    for (const std::string& name : before.names()) {
      const bool wide = name.ends_with("biases") || name.ends_with("correction_bias");
      EXPECT_EQ(after.info(name).dtype, wide ? "F32" : stored) << name;
      const auto exact = before.read<float>(name), rounded = after.read<float>(name);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        const int exponent = exact[i] == 0 ? lowest : std::max(std::ilogb(exact[i]), lowest);
        const float half_unit = std::ldexp(1.0f, exponent - bits - 1);
        ASSERT_LE(std::abs(exact[i] - rounded[i]), wide ? 0.0f : half_unit) << name << " " << i;
      }
    }
    EXPECT_EQ(config_of(folder).at("dtype"), io::torch_name(dtype));
  }
}

TEST(Export, RefusesAWeightThatFloat16CannotHold) {
  const fs::path root = fresh_folder("export/large"), large = root / "from";
  fs::copy(kGolden / "llama_gqa", large, fs::copy_options::recursive);
  const io::SafetensorsReader reader(kGolden / "llama_gqa");
  auto norm = reader.read<float>("model.norm.weight");
  norm[3] = 65520;
  std::vector<io::TensorSource> sources;
  for (const std::string& name : reader.names()) {
    const auto bytes = name == "model.norm.weight" ? std::as_bytes(std::span<const float>(norm))
                                                   : reader.bytes(name);
    sources.push_back({name, "F32", reader.info(name).shape, [bytes] { return bytes; }});
  }
  io::write_safetensors(large / "model.safetensors", std::move(sources));
  const auto refusal = [&](io::HfDtype dtype) {
    try {
      train::export_model({.source = {.run = "", .hf = large}, .to = root / "to", .dtype = dtype});
    } catch (const core::InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal(io::HfDtype::f16).find("65520.000000 of model.norm.weight"), std::string::npos);
  // Nothing is left of it, and the same folder serves another type.
  EXPECT_EQ(std::distance(fs::directory_iterator(root), fs::directory_iterator()), 1);
  EXPECT_EQ(refusal(io::HfDtype::bf16), "");
}

TEST(Export, ANameWithASlashAtItsEnd) {
  const fs::path root = fresh_folder("export/slash");
  train::export_model({.source = {.run = "", .hf = kGolden / "llama_gqa"}, .to = root / "hf/"});
  EXPECT_TRUE(fs::exists(root / "hf/config.json"));
  EXPECT_EQ(std::distance(fs::directory_iterator(root), fs::directory_iterator()), 1);
}

TEST(Export, RefusesAFolderThatHoldsSomething) {
  const fs::path folder = fresh_folder("export/refuses");
  write_text(folder / "notes.txt", "mine");
  try {
    train::export_model({.source = {.run = "", .hf = kGolden / "llama_gqa"}, .to = folder});
    FAIL() << "it was written";
  } catch (const core::InputError& error) {
    EXPECT_NE(std::string(error.what()).find("exists already"), std::string::npos);
  }
  EXPECT_EQ(read_text(folder / "notes.txt"), "mine");
}

/// Constants stand where a zaya model has more than the run's: they must be those on import.
TEST(Export, ADenseModelInZayaFormComesBackBitForBit) {
  const fs::path root = fresh_folder("export/dense_cca"), run = root / "run",
                 again = root / "again";
  const std::string settings =
      " --set run.device=cpu --set model.n_layers=2 --set train.steps=2 --set optim.warmup_steps=1"
      " --set model.attention.cca.key_temperature=linear --set eval.sequences=1"
      " --set eval.sample_tokens=0 --set data.seq_len=32 --set train.batch_size=2 --config ";
  ASSERT_EQ(run_train(settings + "tiny_ccgqa --set run.dir=" + run.string()).code, 0);
  ASSERT_EQ(run_program("export", "--run " + run.string() + " --to " + (root / "hf").string()).code,
            0);
  const Outcome outcome = run_train(settings +
                                    "tiny_ccgqa --set optim.lr=1e-30 --set optim.weight_decay=0 "
                                    "--set init.from=" +
                                    (root / "hf").string() + " --set run.dir=" + again.string());
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const fs::path at = "checkpoints/step_00000002/model.rank_00000.safetensors";
  expect_same_tensors(run / at, again / at);
}

}  // namespace
}  // namespace strait::test
