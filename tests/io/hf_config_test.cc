#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "io/hf_import.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

namespace strait::io {
namespace {

using test::message_of;
using test::TempFolder;

const std::filesystem::path kGolden = std::filesystem::path(STRAIT_SOURCE_DIR) / "tests/golden";

/// Keys of config.json and the JSON to give them; "null" takes the key out.
using Patch = std::vector<std::pair<std::string, std::string>>;

/// The model of a golden case with some keys of its config.json changed. The files are indented by
/// two spaces, so a line that starts a key of the outermost object is told by its indent.
config::Model patched(const std::string& name, const Patch& patch) {
  std::istringstream lines(core::read_file(kGolden / name / "config.json"));
  std::map<std::string, std::string> entries;
  std::string line, key;
  while (std::getline(lines, line)) {
    if (line == "{" || line == "}") continue;
    if (line.rfind("  \"", 0) == 0) {
      key = line.substr(3, line.find('"', 3) - 3);
      line.erase(0, key.size() + 6);
    }
    entries[key] += line;
  }
  std::string text;
  for (auto& [entry, value] : entries) {
    if (value.ends_with(',')) value.pop_back();
  }
  for (const auto& [entry, value] : patch) entries[entry] = value;
  for (const auto& [entry, value] : entries) {
    if (value != "null") text += (text.empty() ? "\"" : ",\"") + entry + "\":" + value;
  }
  TempFolder folder;
  test::write_text(folder / "config.json", "{" + text + "}");
  return model_from_hf(folder.path());
}

TEST(HfConfig, LlamaIsReadWhole) {
  const config::Model model = model_from_hf(kGolden / "llama_gqa");
  EXPECT_EQ(model.vocab_size, 97);
  EXPECT_EQ(model.d_model, 32);
  EXPECT_EQ(model.n_layers, 2);
  EXPECT_TRUE(model.tie_embeddings);
  EXPECT_EQ(model.norm_eps, 1e-5);
  EXPECT_EQ(model.attention.kind, config::AttentionKind::gqa);
  EXPECT_EQ(model.attention.n_heads, 4);
  EXPECT_EQ(model.attention.n_kv_heads, 2);
  EXPECT_EQ(model.attention.head_dim, 16);
  EXPECT_FALSE(model.attention.qk_norm);
  EXPECT_EQ(model.attention.rope.theta, 10000.0);
  EXPECT_FALSE(model.attention.rope.interleaved);
  EXPECT_EQ(model.ffn.kind, config::FfnKind::dense);
  EXPECT_EQ(model.ffn.d_ff, 48);
  EXPECT_EQ(model_from_hf(kGolden / "llama_mha").attention.kind, config::AttentionKind::mha);
}

TEST(HfConfig, DeepseekIsReadWhole) {
  const config::Model model = model_from_hf(kGolden / "deepseek_v3_mla_moe");
  EXPECT_EQ(model.attention.kind, config::AttentionKind::mla);
  EXPECT_TRUE(model.attention.rope.interleaved);
  EXPECT_EQ(model.attention.n_kv_heads, 4);
  EXPECT_EQ(model.attention.head_dim, 12);
  EXPECT_EQ(model.attention.mla.q_rank, 16);
  EXPECT_EQ(model.attention.mla.kv_rank, 12);
  EXPECT_EQ(model.attention.mla.nope_dim, 8);
  EXPECT_EQ(model.attention.mla.rope_dim, 4);
  EXPECT_EQ(model.attention.mla.value_dim, 8);
  const config::Moe& moe = model.ffn.moe;
  EXPECT_EQ(model.ffn.kind, config::FfnKind::moe);
  EXPECT_EQ(moe.first_dense, 1);
  EXPECT_EQ(moe.n_experts, 4);
  EXPECT_EQ(moe.top_k, 2);
  EXPECT_EQ(moe.d_expert, 24);
  EXPECT_EQ(moe.n_shared, 1);
  EXPECT_EQ(moe.score, config::RouterScore::sigmoid);
  EXPECT_TRUE(moe.renormalise && moe.selection_bias);
  EXPECT_EQ(moe.groups, 2);
  EXPECT_EQ(moe.top_groups, 1);
  EXPECT_EQ(moe.scale, 1.5);
  const config::Model direct = model_from_hf(kGolden / "deepseek_v3_no_q_lora");
  EXPECT_EQ(direct.attention.mla.q_rank, 0);
  EXPECT_EQ(direct.norm_eps, 1e-4);
  EXPECT_EQ(direct.attention.mla.norm_eps, 1e-6);
  EXPECT_FALSE(direct.ffn.moe.renormalise);
  EXPECT_EQ(model_from_hf(kGolden / "deepseek_v3_mla_dense").ffn.kind, config::FfnKind::dense);
}

TEST(HfConfig, ZayaIsReadWhole) {
  const config::Model model = model_from_hf(kGolden / "zaya_sliding");
  const config::Attention& attention = model.attention;
  EXPECT_TRUE(model.residual_scale && model.tie_embeddings);
  EXPECT_EQ(attention.kind, config::AttentionKind::ccgqa);
  EXPECT_EQ(attention.n_heads, 2);
  EXPECT_EQ(attention.n_kv_heads, 1);
  EXPECT_EQ(attention.cca.taps_depthwise, 3);
  EXPECT_EQ(attention.cca.taps_grouped, 2);
  EXPECT_EQ(attention.cca.key_temperature, config::KeyTemperature::linear);
  EXPECT_EQ(attention.rope.theta, 5e6);
  EXPECT_EQ(attention.rope.fraction, 0.5);
  EXPECT_EQ(attention.sliding.pattern, "fsf");
  EXPECT_EQ(attention.sliding.window, 7);
  EXPECT_EQ(attention.sliding.theta, 1e4);
  const config::Moe& moe = model.ffn.moe;
  EXPECT_EQ(moe.n_experts, 3);
  EXPECT_EQ(moe.top_k, 1);
  EXPECT_EQ(moe.d_expert, 24);
  EXPECT_EQ(moe.router.kind, config::RouterKind::mlp);
  EXPECT_EQ(moe.router.width, 16);
  EXPECT_TRUE(moe.router.depth_average && moe.skip && moe.selection_bias);
  EXPECT_FALSE(moe.renormalise);
  const config::Model full = model_from_hf(kGolden / "zaya_ccgqa_moe");
  EXPECT_EQ(full.attention.sliding.pattern, "");
  EXPECT_EQ(full.attention.sliding.window, 0);
  const config::Model equal = patched("zaya_ccgqa_moe", {{"num_key_value_heads", "4"}});
  EXPECT_EQ(equal.attention.kind, config::AttentionKind::cca);
}

TEST(HfConfig, OldAndNewSpellingsAgree) {
  const Patch old = {
      {"rope_parameters", "null"}, {"rope_theta", "500000.0"}, {"rope_scaling", "null"}};
  EXPECT_EQ(patched("llama_gqa", old).attention.rope.theta, 5e5);
  EXPECT_EQ(patched("llama_gqa", {{"rope_theta", "5e5"}}).attention.rope.theta, 10000.0);
  EXPECT_EQ(patched("llama_gqa", {{"rope_parameters", "null"}}).attention.rope.theta, 10000.0);
  const Patch scaled = {{"rope_scaling", R"({"type":"default"})"}};
  EXPECT_EQ(patched("llama_gqa", scaled).attention.rope.theta, 10000.0);
  for (const char* key : {"num_experts", "n_routed_experts"}) {
    const Patch patch = {{"num_local_experts", "null"}, {key, "4"}};
    EXPECT_EQ(patched("qwen3_moe", patch).ffn.moe.n_experts, 4) << key;
  }
}

TEST(HfConfig, AbsentKeysTakeTheFamilysDefaults) {
  const config::Model llama = patched("llama_gqa", {{"head_dim", "null"},
                                                    {"num_key_value_heads", "null"},
                                                    {"tie_word_embeddings", "null"},
                                                    {"rms_norm_eps", "null"}});
  EXPECT_EQ(llama.attention.head_dim, 8);
  EXPECT_EQ(llama.attention.n_kv_heads, 4);
  EXPECT_FALSE(llama.tie_embeddings);
  EXPECT_EQ(llama.norm_eps, 1e-6);
  EXPECT_EQ(patched("qwen3_gqa", {{"head_dim", "null"}}).attention.head_dim, 128);
  EXPECT_EQ(patched("qwen3_moe", {{"head_dim", "null"}}).attention.head_dim, 8);
  EXPECT_FALSE(patched("qwen3_moe", {{"norm_topk_prob", "null"}}).ffn.moe.renormalise);
  EXPECT_TRUE(
      patched("deepseek_v3_mla_moe", {{"rope_interleave", "null"}}).attention.rope.interleaved);
}

TEST(HfConfig, DenseLayersBecomeALayerPattern) {
  const auto pattern = [](const Patch& patch) {
    const config::Ffn ffn = patched("qwen3_moe", patch).ffn;
    std::string kinds;
    for (int layer = 0; layer < 6; ++layer) {
      kinds += config::ffn_kind(ffn, layer) == config::FfnKind::moe ? 'm' : 'd';
    }
    return kinds;
  };
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}}), "mmmmmm");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"decoder_sparse_step", "2"}}), "dmdmdm");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"decoder_sparse_step", "4"}}), "dddmdd");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"decoder_sparse_step", "7"}}), "dddddd");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"mlp_only_layers", "[0, 1, 2]"}}), "dddmmm");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"mlp_only_layers", "[0, 1, 2, 4]"}}), "dddmdm");
  EXPECT_EQ(pattern({{"num_hidden_layers", "6"}, {"mlp_only_layers", "[0, 1, 2, 3, 4, 5]"}}),
            "dddddd");
  for (const char* layers : {"[5]", "[1]", "[0,3]", "[1,2]"}) {
    const Patch patch = {{"num_hidden_layers", "6"}, {"mlp_only_layers", layers}};
    EXPECT_NE(message_of<core::InputError>([&] { pattern(patch); }).find("mlp_only_layers is "),
              std::string::npos)
        << layers;
  }
}

TEST(HfConfig, WhatIsNotSupportedIsRefusedByName) {
  const std::tuple<const char*, Patch, const char*> cases[] = {
      {"llama_gqa", {{"attention_bias", "true"}}, "attention_bias is 'true'"},
      {"llama_gqa", {{"mlp_bias", "true"}}, "mlp_bias is 'true'"},
      {"llama_gqa", {{"hidden_act", R"("gelu")"}}, "hidden_act is '\"gelu\"'"},
      {"llama_gqa", {{"clip_qkv", "8"}}, "clip_qkv is '8'"},
      {"llama_gqa", {{"model_type", R"("mistral")"}}, "model_type is '\"mistral\"'"},
      {"llama_gqa", {{"model_type", "null"}}, "model_type is absent"},
      {"llama_gqa", {{"rope_scaling", R"({"type":"linear","factor":2})"}}, "rope_scaling.type is"},
      {"llama_gqa",
       {{"rope_parameters", R"({"rope_type":"yarn"})"}},
       "rope_parameters.rope_type is"},
      {"llama_gqa",
       {{"rope_parameters", R"({"partial_rotary_factor":0.5})"}},
       "rotate whole heads"},
      {"llama_gqa", {{"rope_parameters", "3"}}, "rope_parameters is '3'"},
      {"llama_gqa", {{"rope_parameters", R"({"rope_theta":-1})"}}, "rope_theta is '-1"},
      {"llama_gqa", {{"quantization_config", R"({"quant_method":"fp8"})"}}, "quantization_config"},
      {"llama_gqa", {{"num_key_value_heads", "3"}}, "must divide num_attention_heads (4)"},
      {"llama_gqa", {{"head_dim", "7"}}, "even head_dim"},
      {"llama_gqa", {{"vocab_size", "null"}}, "vocab_size is absent: this key is required"},
      {"llama_gqa", {{"vocab_size", "0"}}, "expected an integer from 1"},
      {"llama_gqa", {{"vocab_size", "9e99"}}, "expected an integer from 1"},
      {"llama_gqa", {{"hidden_size", "18446744073709551615"}}, "expected an integer from 1"},
      {"llama_gqa", {{"num_hidden_layers", "5000"}}, "from 1 to 4096"},
      {"llama_gqa", {{"hidden_size", R"("32")"}}, "hidden_size is '\"32\"'"},
      {"llama_gqa", {{"tie_word_embeddings", "1"}}, "expected true or false"},
      {"qwen3_gqa", {{"use_sliding_window", "true"}}, "use_sliding_window is 'true'"},
      {"qwen3_gqa", {{"layer_types", R"(["full_attention","sliding_attention"])"}}, "layer_types"},
      {"qwen3_moe", {{"num_experts", "5"}}, "another key gives 5 experts"},
      {"qwen3_moe", {{"num_local_experts", "null"}}, "needs experts"},
      {"qwen3_moe", {{"num_experts_per_tok", "5"}}, "from 1 to 4"},
      {"deepseek_v3_mla_moe", {{"topk_method", R"("greedy")"}}, "topk_method is '\"greedy\"'"},
      {"deepseek_v3_mla_moe", {{"scoring_func", R"("softmax")"}}, "scoring_func"},
      {"deepseek_v3_mla_moe", {{"moe_layer_freq", "2"}}, "moe_layer_freq is '2'"},
      {"deepseek_v3_mla_moe", {{"num_key_value_heads", "2"}}, "as many key heads"},
      {"deepseek_v3_mla_moe", {{"n_shared_experts", "0"}}, "n_shared_experts is '0'"},
      {"deepseek_v3_mla_moe", {{"n_group", "3"}}, "must divide n_routed_experts"},
      {"deepseek_v3_mla_moe", {{"topk_group", "3"}}, "from 1 to 2"},
      {"deepseek_v3_mla_moe", {{"kv_lora_rank", "null"}}, "kv_lora_rank is absent"},
      {"zaya_ccgqa_moe", {{"num_experts_per_tok", "2"}}, "chooses one expert per token"},
      {"zaya_ccgqa_moe", {{"lm_head_bias", "true"}}, "lm_head_bias is 'true'"},
      {"zaya_ccgqa_moe", {{"attention_bias", "true"}}, "attention_bias is 'true'"},
      {"zaya_ccgqa_moe", {{"cca_time0", "0"}}, "cca_time0 is '0'"},
      {"zaya_ccgqa_moe", {{"router_hidden_size", "null"}}, "router_hidden_size is absent"},
      {"zaya_ccgqa_moe", {{"rope_parameters", "null"}}, "rope_parameters is absent"},
      {"zaya_ccgqa_moe",
       {{"rope_parameters", R"({"hybrid":{"rope_theta":1e4}})"}},
       "rope_parameters.hybrid.partial_rotary_factor is absent"},
      {"zaya_ccgqa_moe", {{"rope_parameters", "{}"}}, "rope_parameters.hybrid is absent"},
      {"zaya_sliding", {{"sliding_window", "null"}}, "sliding_window is absent"},
      {"zaya_sliding", {{"layer_types", R"(["hybrid","hybrid"])"}}, "one for each of"},
      {"zaya_sliding", {{"layer_types", R"(["full_attention"])"}}, "expected hybrid and"},
      {"zaya_sliding",
       {{"rope_parameters", R"({"hybrid":{"rope_theta":1e4,"partial_rotary_factor":0.5},)"
                            R"("hybrid_sliding":{"rope_theta":1e4,"partial_rotary_factor":1.0}})"}},
       "same for all layer types"},
  };
  for (const auto& [name, patch, why] : cases) {
    const std::string message = message_of<core::InputError>([&] { patched(name, patch); });
    EXPECT_NE(message.find(why), std::string::npos) << why << "\n" << message;
    EXPECT_NE(message.find("config.json: "), std::string::npos) << why;
  }
}

TEST(HfConfig, BadFilesAreNamed) {
  TempFolder folder;
  const auto message = [&] {
    return message_of<core::InputError>([&] { model_from_hf(folder.path()); });
  };
  EXPECT_NE(message().find("config.json: cannot read"), std::string::npos);
  const std::pair<const char*, const char*> kTexts[] = {
      {"", "not valid JSON at byte"},
      {"[]", "expected a JSON object"},
      {R"({"a":1,"a":2})", "key 'a' is given twice"},
  };
  for (const auto& [text, why] : kTexts) {
    test::write_text(folder / "config.json", text);
    EXPECT_NE(message().find(why), std::string::npos) << text << "\n" << message();
  }
  test::write_text(folder / "config.json", std::string(100000, '['));
  EXPECT_NE(message().find("nested deeper than 16"), std::string::npos) << message();
}

}  // namespace
}  // namespace strait::io
