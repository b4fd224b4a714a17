#include <nlohmann/json.hpp>
#include <set>

#include "config/load.h"
#include "core/files.h"
#include "io/hf_export.h"
#include "io/hf_import.h"
#include "io/json_text.h"

namespace strait::io {
namespace {

using nlohmann::ordered_json;

/// What all families say. Old and new names of a setting stand side by side, so that transformers 4
/// and 5 and serving engines read the same.
ordered_json common(const config::Model& model, HfFamily family, const HfExportOptions& options) {
  ordered_json out{
      {"architectures", {architecture_of(family)}},
      {"model_type", name_of(family)},
      {"dtype", torch_name(options.dtype)},
      {"torch_dtype", torch_name(options.dtype)},
      {"vocab_size", model.vocab_size},
      {"hidden_size", model.d_model},
      {"num_hidden_layers", model.n_layers},
      {"num_attention_heads", model.attention.n_heads},
      {"num_key_value_heads", model.attention.n_kv_heads},
      {"head_dim", model.attention.head_dim},
      {"hidden_act", "silu"},
      {"rms_norm_eps", model.norm_eps},
      {"initializer_range", model.init_std},
      {"tie_word_embeddings", model.tie_embeddings},
      {"attention_bias", false},
      {"use_cache", true},
  };
  if (options.max_positions > 0) out["max_position_embeddings"] = options.max_positions;
  if (options.eos) {
    out["eos_token_id"] = *options.eos;
    out["bos_token_id"] = nullptr;
    out["pad_token_id"] = nullptr;
  }
  return out;
}

void add_rope(ordered_json& out, const config::Model& model) {
  const double theta = model.attention.rope.theta;
  out["rope_theta"] = theta;
  out["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", theta}};
}

void add_qwen3_moe(ordered_json& out, const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  const bool steps = moe.first_dense % moe.every == 0;
  const std::int64_t step = steps ? moe.every : 1;
  ordered_json dense = ordered_json::array();
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    const bool sparse = config::ffn_kind(model.ffn, layer) == config::FfnKind::moe;
    if (!sparse && (layer + 1) % step == 0) dense.push_back(layer);
  }
  out["decoder_sparse_step"] = step;
  out["mlp_only_layers"] = dense;
  out["num_experts"] = out["num_local_experts"] = moe.n_experts;
  out["num_experts_per_tok"] = moe.top_k;
  out["moe_intermediate_size"] = moe.d_expert;
  out["norm_topk_prob"] = moe.renormalise;
  out["router_aux_loss_coef"] = moe.aux_coef;
  out["output_router_logits"] = false;
}

void add_deepseek_v3(ordered_json& out, const config::Model& model) {
  const config::Mla& mla = model.attention.mla;
  out["q_lora_rank"] = mla.q_rank > 0 ? ordered_json(mla.q_rank) : ordered_json();
  out["kv_lora_rank"] = mla.kv_rank;
  out["qk_nope_head_dim"] = mla.nope_dim;
  out["qk_rope_head_dim"] = mla.rope_dim;
  out["qk_head_dim"] = mla.nope_dim + mla.rope_dim;
  out["v_head_dim"] = mla.value_dim;
  out["head_dim"] = mla.rope_dim;  // as transformers writes it
  out["rope_interleave"] = model.attention.rope.interleaved;
  out["num_nextn_predict_layers"] = 0;
  // A dense model is one whose mixtures would begin behind its last layer.
  const bool dense = model.ffn.kind == config::FfnKind::dense;
  const config::Moe& moe = model.ffn.moe;
  out["first_k_dense_replace"] = dense ? model.n_layers : moe.first_dense;
  out["moe_layer_freq"] = 1;
  out["n_routed_experts"] = dense ? 1 : moe.n_experts;
  out["num_experts_per_tok"] = dense ? 1 : moe.top_k;
  out["moe_intermediate_size"] = dense ? model.ffn.d_ff : moe.d_expert;
  out["n_shared_experts"] = dense ? 1 : moe.n_shared;
  out["n_group"] = dense ? 1 : moe.groups;
  out["topk_group"] = dense ? 1 : moe.top_groups;
  out["norm_topk_prob"] = dense || moe.renormalise;
  out["routed_scaling_factor"] = dense ? 1.0 : moe.scale;
  out["scoring_func"] = "sigmoid";
  out["topk_method"] = "noaux_tc";
}

void add_zaya(ordered_json& out, const config::Model& model) {
  const config::Attention& attention = model.attention;
  const bool dense = model.ffn.kind == config::FfnKind::dense;
  const config::Moe& moe = model.ffn.moe;
  out["lm_head_bias"] = false;
  out["cca_time0"] = attention.cca.taps_depthwise;
  out["cca_time1"] = attention.cca.taps_grouped;
  out["num_experts"] = dense ? 1 : moe.n_experts;
  out["num_experts_per_tok"] = 1;
  out["moe_intermediate_size"] = dense ? model.ffn.d_ff : moe.d_expert;
  out["router_hidden_size"] = dense ? 1 : moe.router.width;
  out["output_router_logits"] = false;
  ordered_json types = ordered_json::array(), rope = ordered_json::object();
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    const bool slides = config::slides(attention, layer);
    const char* type = slides ? "hybrid_sliding" : "hybrid";
    types.push_back(type);
    rope[type] = {{"rope_type", "default"},
                  {"rope_theta", slides ? attention.sliding.theta : attention.rope.theta},
                  {"partial_rotary_factor", attention.rope.fraction}};
  }
  out["layer_types"] = types;
  out["sliding_window"] =
      attention.sliding.pattern.empty() ? ordered_json() : ordered_json(attention.sliding.window);
  out["rope_parameters"] = rope;
}

void add_own(ordered_json& out, const config::Model& model) {
  config::Config config;
  config.model = model;
  out["auto_map"] = {{"AutoConfig", "modeling_strait.StraitConfig"},
                     {"AutoModelForCausalLM", "modeling_strait.StraitForCausalLM"}};
  out["use_cache"] = false;
  out["tie_word_embeddings"] = false;  // model.tie_embeddings says it; nothing is to be tied
  out["model"] = ordered_json::parse(config::to_json(config)).at("model");
}

/// Keys that must be there but that the model does not use: of training, and of mixtures where
/// there are none.
std::set<std::string> unused_keys(const config::Model& model, HfFamily family) {
  if (family == HfFamily::qwen3_moe) return {"router_aux_loss_coef"};
  if (family != HfFamily::deepseek_v3 || model.ffn.kind == config::FfnKind::moe) return {};
  return {
      "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "n_shared_experts",
      "n_group",          "topk_group",          "norm_topk_prob",        "routed_scaling_factor"};
}

/// Settings of the folder `like` that this project has no say in.
void keep_others(ordered_json& out, const config::Model& model, HfFamily family,
                 const HfExportOptions& options) {
  if (options.like.empty() || hf_model_type(options.like) != name_of(family)) return;
  const auto path = options.like / "config.json";
  const nlohmann::json theirs = parse_json(core::read_file(path), path.string());
  static const std::set<std::string> kOurs{"transformers_version", "quantization_config",
                                           "rope_scaling", "intermediate_size"};
  const std::set<std::string> unused = unused_keys(model, family);
  for (const auto& [key, value] : theirs.items()) {
    const bool free = !out.contains(key) && !kOurs.contains(key);
    if (free || unused.contains(key)) out[key] = value;
  }
}

}  // namespace

std::string hf_config_text(const config::Model& model, HfFamily family,
                           const HfExportOptions& options) {
  ordered_json out = common(model, family, options);
  if (family == HfFamily::strait) {
    add_own(out, model);
  } else if (family == HfFamily::zaya) {
    add_zaya(out, model);
  } else {
    const bool mixture = model.ffn.kind == config::FfnKind::moe;
    out["intermediate_size"] =
        model.ffn.d_ff > 0 || !mixture ? model.ffn.d_ff : model.ffn.moe.d_expert;
    out["mlp_bias"] = false;
    add_rope(out, model);
  }
  if (family != HfFamily::llama) out.erase("mlp_bias");
  if (family == HfFamily::qwen3) out["use_sliding_window"] = false;
  if (family == HfFamily::qwen3_moe) add_qwen3_moe(out, model);
  if (family == HfFamily::deepseek_v3) add_deepseek_v3(out, model);
  keep_others(out, model, family, options);
  return out.dump(2) + "\n";
}

}  // namespace strait::io
