#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "config/load.h"
#include "io/hf_config_file.h"
#include "io/hf_import.h"

namespace strait::io {
namespace {

using nlohmann::json;

void check_common(const HfConfig& file) {
  file.only("hidden_act", "silu", "only SwiGLU feed-forwards (silu) are supported");
  file.only("attention_bias", false, "biases in attention projections are not supported");
  file.only("mlp_bias", false, "biases in feed-forward projections are not supported");
  file.only("clip_qkv", nullptr, "clipping of queries, keys and values is not supported");
  file.only("partial_rotary_factor", 1.0, "these families rotate whole heads");
  file.only("use_sliding_window", false, "sliding windows that start at a layer are not supported");
  if (file.has("quantization_config")) {
    file.refuse("quantization_config", "quantised checkpoints are not supported; convert to bf16");
  }
  if (!file.has("layer_types")) return;
  const json full = "full_attention";
  for (const json& type : file.at("layer_types")) {
    if (type != full) file.refuse("layer_types", "only full_attention layers are supported");
  }
}

/// theta from rope_parameters (transformers 5) or rope_theta (4); any scaling is refused.
double rope_theta(const HfConfig& file) {
  const double theta = file.positive("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!file.has(key)) continue;
    const HfConfig rope(file, key);
    const std::string why = "RoPE scaling is not supported, only type default";
    rope.only("rope_type", "default", why);
    rope.only("type", "default", why);
    rope.only("partial_rotary_factor", 1.0, "these families rotate whole heads");
  }
  return file.has("rope_parameters")
             ? HfConfig(file, "rope_parameters").positive("rope_theta", theta)
             : theta;
}

/// `tied`, `eps`: where the file does not say.
config::Model sized_model(const HfConfig& file, bool tied, double eps) {
  config::Model model;
  model.vocab_size = file.size("vocab_size");
  model.d_model = file.size("hidden_size");
  model.n_layers = file.integer("num_hidden_layers", 1, 4096);
  model.tie_embeddings = file.boolean("tie_word_embeddings", tied);
  model.norm_eps = file.positive("rms_norm_eps", eps);
  model.init_std = file.positive("initializer_range", 0.02);
  return model;
}

config::Model common_model(const HfConfig& file) {
  check_common(file);
  config::Model model = sized_model(file, false, 1e-6);
  model.attention.n_heads = file.size("num_attention_heads");
  model.attention.rope.theta = rope_theta(file);
  model.ffn.d_ff = file.size("intermediate_size");
  return model;
}

/// Heads of llama and the qwen3 families. `head_dim` 0: hidden_size over heads.
void set_gqa(const HfConfig& file, config::Model& model, std::int64_t head_dim) {
  config::Attention& attention = model.attention;
  attention.n_kv_heads = file.size("num_key_value_heads", attention.n_heads);
  if (attention.n_heads % attention.n_kv_heads != 0) {
    file.refuse("num_key_value_heads",
                "must divide num_attention_heads (" + std::to_string(attention.n_heads) + ")");
  }
  attention.kind = attention.n_kv_heads == attention.n_heads ? config::AttentionKind::mha
                                                             : config::AttentionKind::gqa;
  attention.head_dim =
      file.size("head_dim", head_dim ? head_dim : model.d_model / attention.n_heads);
  if (attention.head_dim % 2 != 0) file.refuse("head_dim", "RoPE needs an even head_dim");
}

/// Experts and selection, alike in both mixtures; `n_experts` has been read.
void set_top_k(const HfConfig& file, config::Moe& moe) {
  moe.d_expert = file.size("moe_intermediate_size");
  moe.top_k = file.integer("num_experts_per_tok", 1, moe.n_experts);
}

/// The expert count under the one or more names it is written by (0 when absent).
std::int64_t expert_count(const HfConfig& file) {
  std::int64_t count = 0;
  for (const char* key : {"num_experts", "num_local_experts", "n_routed_experts"}) {
    if (!file.has(key)) continue;
    const std::int64_t value = file.integer(key, 0, 65536);
    if (count != 0 && value != count) {
      file.refuse(key, "another key gives " + std::to_string(count) + " experts");
    }
    count = value;
  }
  return count;
}

/// Finds first_dense and every such that the mixture layers are those of decoder_sparse_step and
/// mlp_only_layers.
void set_layer_pattern(const HfConfig& file, config::Model& model) {
  const std::int64_t step = file.size("decoder_sparse_step", 1);
  std::set<std::int64_t> dense;
  if (file.has("mlp_only_layers")) {
    for (const json& layer : file.at("mlp_only_layers")) {
      if (!layer.is_number_integer()) file.refuse("mlp_only_layers", "expected layer numbers");
      dense.insert(layer.get<std::int64_t>());
    }
  }
  std::vector<bool> sparse;
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    sparse.push_back((layer + 1) % step == 0 && dense.count(layer) == 0);
  }
  const auto matches = [&] {
    for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
      const bool moe = config::ffn_kind(model.ffn, layer) == config::FfnKind::moe;
      if (moe != sparse[static_cast<std::size_t>(layer)]) return false;
    }
    return true;
  };
  const auto first = std::find(sparse.begin(), sparse.end(), true);
  if (first == sparse.end()) return;
  const auto second = std::find(first + 1, sparse.end(), true);
  model.ffn.kind = config::FfnKind::moe;
  config::Moe& moe = model.ffn.moe;
  const std::int64_t begin = first - sparse.begin();
  moe.every = second == sparse.end() ? begin + 1 : second - first;
  moe.first_dense = begin + 1 - moe.every;
  if (moe.first_dense >= 0 && matches()) return;
  file.refuse(file.has("mlp_only_layers") ? "mlp_only_layers" : "decoder_sparse_step",
              "dense layers must come first, then every k-th layer may be a mixture");
}

config::Model qwen3_moe_model(const HfConfig& file) {
  config::Model model = common_model(file);
  set_gqa(file, model, 0);
  model.attention.qk_norm = true;
  config::Moe& moe = model.ffn.moe;
  moe.n_experts = expert_count(file);
  if (moe.n_experts == 0) file.refuse("num_experts", "a qwen3_moe model needs experts");
  set_top_k(file, moe);
  moe.score = config::RouterScore::softmax;
  moe.renormalise = file.boolean("norm_topk_prob", false);
  set_layer_pattern(file, model);
  return model;
}

void set_deepseek_moe(const HfConfig& file, config::Model& model) {
  file.only("topk_method", "noaux_tc", "only selection by bias (noaux_tc) is supported");
  file.only("scoring_func", "sigmoid", "only sigmoid scores are supported");
  file.only("moe_layer_freq", 1, "every layer after first_k_dense_replace must be a mixture");
  config::Moe& moe = model.ffn.moe;
  const std::int64_t first = file.integer("first_k_dense_replace", 0, HfConfig::kMaxSize);
  if (first >= model.n_layers) return;
  model.ffn.kind = config::FfnKind::moe;
  moe.first_dense = first;
  moe.n_experts = expert_count(file);
  if (moe.n_experts == 0) file.refuse("n_routed_experts", "this key is required");
  set_top_k(file, moe);
  moe.n_shared = file.size("n_shared_experts");
  moe.score = config::RouterScore::sigmoid;
  moe.selection_bias = true;
  moe.renormalise = file.boolean("norm_topk_prob", true);
  moe.scale = file.positive("routed_scaling_factor");
  moe.groups = file.integer("n_group", 1, moe.n_experts, 1);
  moe.top_groups = file.integer("topk_group", 1, moe.groups, 1);
  if (moe.n_experts % moe.groups != 0) file.refuse("n_group", "must divide n_routed_experts");
}

config::Model deepseek_v3_model(const HfConfig& file) {
  config::Model model = common_model(file);
  config::Attention& attention = model.attention;
  attention.kind = config::AttentionKind::mla;
  attention.n_kv_heads = attention.n_heads;
  file.only("num_key_value_heads", attention.n_heads,
            "latent attention has as many key heads as query heads");
  attention.mla.q_rank = file.size("q_lora_rank", 0);
  attention.mla.kv_rank = file.size("kv_lora_rank");
  attention.mla.nope_dim = file.size("qk_nope_head_dim");
  attention.mla.rope_dim = file.size("qk_rope_head_dim");
  attention.mla.value_dim = file.size("v_head_dim");
  if (attention.mla.rope_dim % 2 != 0) file.refuse("qk_rope_head_dim", "RoPE needs an even width");
  // transformers builds the inner norms without passing rms_norm_eps, so its default holds there.
  attention.mla.norm_eps = 1e-6;
  attention.head_dim = attention.mla.nope_dim + attention.mla.rope_dim;
  attention.rope.interleaved = file.boolean("rope_interleave", true);
  set_deepseek_moe(file, model);
  return model;
}

/// Heads and the convolved latent of a ZAYA1 layer.
void set_zaya_attention(const HfConfig& file, config::Model& model) {
  config::Attention& attention = model.attention;
  attention.n_heads = file.size("num_attention_heads");
  set_gqa(file, model, 0);
  const bool equal = attention.n_kv_heads == attention.n_heads;
  attention.kind = equal ? config::AttentionKind::cca : config::AttentionKind::ccgqa;
  attention.cca.key_temperature = config::KeyTemperature::linear;
  attention.cca.taps_depthwise = file.integer("cca_time0", 1, 64);
  attention.cca.taps_grouped = file.integer("cca_time1", 1, 64);
}

/// One letter per layer; empty when none slides.
std::string sliding_pattern(const HfConfig& file, std::int64_t layers) {
  if (!file.has("layer_types")) return "";
  std::string pattern;
  for (const json& type : file.at("layer_types")) {
    if (type != "hybrid" && type != "hybrid_sliding") {
      file.refuse("layer_types", "expected hybrid and hybrid_sliding");
    }
    pattern += type == "hybrid" ? 'f' : 's';
  }
  if (static_cast<std::int64_t>(pattern.size()) != layers) {
    file.refuse("layer_types", "expected one for each of num_hidden_layers");
  }
  return pattern.find('s') == std::string::npos ? "" : pattern;
}

/// Windows and rotations by layer type; entries of types that do not occur are passed over.
void set_zaya_layers(const HfConfig& file, config::Model& model) {
  config::Attention& attention = model.attention;
  attention.sliding.pattern = sliding_pattern(file, model.n_layers);
  const std::string& pattern = attention.sliding.pattern;
  if (!pattern.empty()) attention.sliding.window = file.size("sliding_window");
  if (!file.has("rope_parameters")) file.refuse("rope_parameters", "this key is required");
  const HfConfig all(file, "rope_parameters");
  std::optional<double> fraction;
  const auto read = [&](const char* type) {
    if (!all.has(type)) all.refuse(type, "a layer type that occurs needs its rotation");
    const HfConfig rope(all, type);
    rope.only("rope_type", "default", "RoPE scaling is not supported, only type default");
    const double own = rope.positive("partial_rotary_factor");
    if (own > 1) rope.refuse("partial_rotary_factor", "expected at most 1");
    if (fraction && own != *fraction) {
      rope.refuse("partial_rotary_factor", "must be the same for all layer types");
    }
    fraction = own;
    return rope.positive("rope_theta");
  };
  const bool all_slide = !pattern.empty() && pattern.find('f') == std::string::npos;
  if (!all_slide) attention.rope.theta = read("hybrid");
  if (!pattern.empty()) attention.sliding.theta = read("hybrid_sliding");
  attention.rope.fraction = *fraction;
}

config::Model zaya_model(const HfConfig& file) {
  file.only("hidden_act", "silu", "only SwiGLU experts (silu) are supported");
  file.only("attention_bias", false, "biases in attention projections are not supported");
  file.only("lm_head_bias", false, "a bias of the head is not supported");
  config::Model model = sized_model(file, true, 1e-5);
  model.residual_scale = true;
  set_zaya_attention(file, model);
  set_zaya_layers(file, model);
  model.ffn.kind = config::FfnKind::moe;
  config::Moe& moe = model.ffn.moe;
  moe.n_experts = file.integer("num_experts", 1, 65536);
  set_top_k(file, moe);
  file.only("num_experts_per_tok", 1, "ZAYA chooses one expert per token");
  if (moe.n_experts == 1 && file.size("router_hidden_size") == 1) {  // see name_map_zaya.cc
    model.ffn = {.kind = config::FfnKind::dense, .d_ff = moe.d_expert, .moe = {}};
    return model;
  }
  moe.router = {.kind = config::RouterKind::mlp,
                .width = file.size("router_hidden_size"),
                .depth_average = true};
  moe.skip = moe.selection_bias = true;
  return model;
}

/// Our own config.json holds the section "model" of a config as it is.
config::Model own_model(const HfConfig& file, const std::string& origin) {
  if (!file.has("model")) file.refuse("model", "this key is required");
  const json section{{"model", file.at("model")}};
  return config::read_text(section.dump(), origin, {}).model;
}

}  // namespace

std::string hf_model_type(const std::filesystem::path& folder) {
  const HfConfig file(folder / "config.json");
  if (!file.has("model_type") || !file.at("model_type").is_string()) return "";
  return file.at("model_type").get<std::string>();
}

config::Model model_from_hf(const std::filesystem::path& folder) {
  const HfConfig file(folder / "config.json");
  const std::string type = hf_model_type(folder);
  if (type == "llama" || type == "qwen3") {
    config::Model model = common_model(file);
    set_gqa(file, model, type == "qwen3" ? 128 : 0);
    model.attention.qk_norm = type == "qwen3";
    return model;
  }
  if (type == "qwen3_moe") return qwen3_moe_model(file);
  if (type == "deepseek_v3") return deepseek_v3_model(file);
  if (type == "zaya") return zaya_model(file);
  if (type == "strait") return own_model(file, (folder / "config.json").string());
  file.refuse("model_type", "expected llama, qwen3, qwen3_moe, deepseek_v3, zaya or strait");
}

}  // namespace strait::io
