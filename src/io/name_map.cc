#include "io/name_map.h"

#include <utility>

#include "core/error.h"

namespace strait::io {
namespace {

using Shape = std::vector<std::int64_t>;

/// Collects entries under the prefixes of one layer (or of the whole model).
class MapBuilder {
 public:
  MapBuilder(const config::Model& model, HfFamily family) : model_(model), family_(family) {}

  std::vector<NameMapEntry> build() && {
    const Shape table{model_.vocab_size, model_.d_model};
    add("embed.weight", "model.embed_tokens.weight", table);
    if (family_ == HfFamily::zaya) {
      add("embed_residual.branch_scale", "model.input_hidden_states_scale", {model_.d_model});
      add("embed_residual.branch_bias", "model.input_hidden_states_bias", {model_.d_model});
    }
    for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) add_layer(layer);
    ours_.clear();
    theirs_.clear();
    add("final_norm.weight", "model.norm.weight", {model_.d_model});
    if (!model_.tie_embeddings) add("lm_head.weight", "lm_head.weight", table);
    return std::move(entries_);
  }

 private:
  void add(const std::string& part, const std::string& hf, Shape shape, std::int64_t expert = -1) {
    entries_.push_back({ours_ + part, expert, theirs_ + hf, std::move(shape), {}});
  }

  void add_view(const std::string& part, const std::string& hf, Shape shape, HfView view) {
    entries_.push_back({ours_ + part, -1, theirs_ + hf, std::move(shape), std::move(view)});
  }

  void add_layer(std::int64_t layer) {
    ours_ = "layers." + std::to_string(layer) + ".";
    theirs_ = "model.layers." + std::to_string(layer) + ".";
    add("attn_norm.weight", "input_layernorm.weight", {model_.d_model});
    if (family_ == HfFamily::deepseek_v3) {
      add_mla();
    } else if (family_ == HfFamily::zaya) {
      add_cca();
      add_residual_scale("attn_residual.", "post_attention_residual_scale.");
      add_residual_scale("ffn_residual.", "post_mlp_residual_scale.");
    } else {
      add_gqa();
    }
    add("ffn_norm.weight", "post_attention_layernorm.weight", {model_.d_model});
    if (family_ == HfFamily::zaya) {
      add_zaya_router(layer);
      add_fused_experts();
    } else if (config::ffn_kind(model_.ffn, layer) == config::FfnKind::moe) {
      add_moe();
    } else {
      add_mlp("ffn.", "mlp.", model_.ffn.d_ff);
    }
  }

  void add_gqa() {
    const config::Attention& attention = model_.attention;
    const std::int64_t q = attention.n_heads * attention.head_dim;
    const std::int64_t kv = attention.n_kv_heads * attention.head_dim;
    add("attn.q.weight", "self_attn.q_proj.weight", {q, model_.d_model});
    add("attn.k.weight", "self_attn.k_proj.weight", {kv, model_.d_model});
    add("attn.v.weight", "self_attn.v_proj.weight", {kv, model_.d_model});
    if (attention.qk_norm) {
      add("attn.q_norm.weight", "self_attn.q_norm.weight", {attention.head_dim});
      add("attn.k_norm.weight", "self_attn.k_norm.weight", {attention.head_dim});
    }
    add("attn.o.weight", "self_attn.o_proj.weight", {model_.d_model, q});
  }

  void add_mla() {
    const config::Mla& mla = model_.attention.mla;
    const std::int64_t heads = model_.attention.n_heads;
    const std::int64_t q = heads * (mla.nope_dim + mla.rope_dim);
    if (mla.q_rank == 0) {
      add("attn.q.weight", "self_attn.q_proj.weight", {q, model_.d_model});
    } else {
      add("attn.q_a.weight", "self_attn.q_a_proj.weight", {mla.q_rank, model_.d_model});
      add("attn.q_a_norm.weight", "self_attn.q_a_layernorm.weight", {mla.q_rank});
      add("attn.q_b.weight", "self_attn.q_b_proj.weight", {q, mla.q_rank});
    }
    add("attn.kv_a.weight", "self_attn.kv_a_proj_with_mqa.weight",
        {mla.kv_rank + mla.rope_dim, model_.d_model});
    add("attn.kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", {mla.kv_rank});
    add("attn.kv_b.weight", "self_attn.kv_b_proj.weight",
        {heads * (mla.nope_dim + mla.value_dim), mla.kv_rank});
    add("attn.o.weight", "self_attn.o_proj.weight", {model_.d_model, heads * mla.value_dim});
  }

  void add_residual_scale(const std::string& ours, const std::string& theirs) {
    const std::pair<const char*, const char*> names[] = {{"branch_scale", "hidden_states_scale"},
                                                         {"branch_bias", "hidden_states_bias"},
                                                         {"stream_scale", "residual_scale"},
                                                         {"stream_bias", "residual_bias"}};
    for (const auto& [part, hf] : names) add(ours + part, theirs + hf, {model_.d_model});
  }

  void add_cca() {
    const config::Attention& attention = model_.attention;
    const std::int64_t d = attention.head_dim, D = model_.d_model;
    const std::int64_t q = attention.n_heads * d, kv = attention.n_kv_heads * d;
    const std::string qkv = "self_attn.qkv_proj.";
    add("attn.q.weight", qkv + "q_proj.weight", {q, D});
    add("attn.k.weight", qkv + "k_proj.weight", {kv, D});
    add("attn.v_cur.weight", qkv + "v_proj_current.weight", {kv / 2, D});
    add("attn.v_del.weight", qkv + "v_proj_delayed.weight", {kv / 2, D});
    add_convolutions(qkv, attention.n_heads + attention.n_kv_heads);
    add("attn.temp", "self_attn.qk_norm.temp", {attention.n_kv_heads});
    add("attn.o.weight", "self_attn.o_proj.weight", {D, q});
  }

  /// Theirs are Conv1d weights [out, in / groups, taps]; ours have the taps first and the outputs
  /// last.
  void add_convolutions(const std::string& qkv, std::int64_t heads) {
    const std::int64_t d = model_.attention.head_dim, channels = heads * d;
    const std::int64_t n0 = model_.attention.cca.taps_depthwise;
    const std::int64_t n1 = model_.attention.cca.taps_grouped;
    add_view("attn.conv0.weight", qkv + "conv_qk_depthwise.weight", {channels, 1, n0},
             {.dims = {{n0, 1}, {channels, n0}}});
    add("attn.conv0.bias", qkv + "conv_qk_depthwise.bias", {channels});
    add_view("attn.conv1.weight", qkv + "conv_qk_grouped.weight", {channels, d, n1},
             {.dims = {{heads, d * d * n1}, {n1, 1}, {d, n1}, {d, d * n1}}});
    add_view("attn.conv1.bias", qkv + "conv_qk_grouped.bias", {channels},
             {.dims = {{heads, d}, {d, 1}}});
  }

  void add_zaya_router(std::int64_t layer) {
    const config::Moe& moe = model_.ffn.moe;
    const std::int64_t R = moe.router.width, E = moe.n_experts;
    const std::string ours = "ffn.router.", theirs = "mlp.gate.", mlp = theirs + "router_mlp.";
    add(ours + "down.weight", theirs + "down_proj.weight", {R, model_.d_model});
    add(ours + "down.bias", theirs + "down_proj.bias", {R});
    if (layer > 0) add(ours + "gamma", theirs + "router_states_scale", {R});
    add(ours + "norm.weight", mlp + "norm.weight", {R});
    for (const char* hidden : {"fc1", "fc2"}) {
      const std::string name = hidden;
      add(ours + name + ".weight", mlp + name + ".weight", {R, R});
      add(ours + name + ".bias", mlp + name + ".bias", {R});
    }
    add(ours + "out.weight", mlp + "out_proj.weight", {E + 1, R});
    // Their last entry belongs to the class that skips, fixed here and there.
    add_view(ours + "bias", theirs + "balancing_biases", {E + 1}, {.dims = {{E, 1}}});
  }

  /// One tensor for the gates and ups of all experts, gate rows first.
  void add_fused_experts() {
    const std::int64_t E = model_.ffn.moe.n_experts, F = model_.ffn.moe.d_expert;
    const std::int64_t D = model_.d_model;
    const auto half = [&](const char* part, std::int64_t offset) {
      add_view(part, "mlp.experts.gate_up_proj", {E, 2 * F, D},
               {.offset = offset, .dims = {{E, 2 * F * D}, {F * D, 1}}});
    };
    half("ffn.experts.gate.weight", 0);
    half("ffn.experts.up.weight", F * D);
    add("ffn.experts.down.weight", "mlp.experts.down_proj", {E, D, F});
  }

  /// Gate, up and down of one SwiGLU block.
  void add_mlp(const std::string& ours, const std::string& theirs, std::int64_t width,
               std::int64_t expert = -1) {
    add(ours + "gate.weight", theirs + "gate_proj.weight", {width, model_.d_model}, expert);
    add(ours + "up.weight", theirs + "up_proj.weight", {width, model_.d_model}, expert);
    add(ours + "down.weight", theirs + "down_proj.weight", {model_.d_model, width}, expert);
  }

  void add_moe() {
    const config::Moe& moe = model_.ffn.moe;
    add("ffn.router.weight", "mlp.gate.weight", {moe.n_experts, model_.d_model});
    if (moe.selection_bias) {
      add("ffn.router.bias", "mlp.gate.e_score_correction_bias", {moe.n_experts});
    }
    for (std::int64_t expert = 0; expert < moe.n_experts; ++expert) {
      add_mlp("ffn.experts.", "mlp.experts." + std::to_string(expert) + ".", moe.d_expert, expert);
    }
    if (moe.n_shared > 0) {
      add_mlp("ffn.shared.", "mlp.shared_experts.", moe.n_shared * moe.d_expert);
    }
  }

  const config::Model& model_;
  HfFamily family_;
  std::string ours_, theirs_;  // prefixes of the current layer
  std::vector<NameMapEntry> entries_;
};

[[noreturn]] void no_family(const std::string& why) {
  throw core::InputError(
      "no Hugging Face layout (llama, qwen3, qwen3_moe, deepseek_v3, zaya) holds " + why);
}

HfFamily mla_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  if (model.attention.qk_norm) no_family("model.attention.qk_norm with kind mla");
  if (model.ffn.kind == config::FfnKind::dense) return HfFamily::deepseek_v3;
  if (moe.every != 1) no_family("model.ffn.moe.every = " + std::to_string(moe.every) + " with mla");
  if (!moe.selection_bias) no_family("an mla mixture without model.ffn.moe.selection_bias");
  if (moe.n_shared < 1) no_family("an mla mixture without shared experts");
  return HfFamily::deepseek_v3;
}

/// ZAYA1 is one architecture: all of it, or none.
HfFamily cca_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  const config::Cca& cca = model.attention.cca;
  const auto need = [](bool held, const char* what) {
    if (!held) no_family(std::string("attention kinds cca and ccgqa without ") + what);
  };
  need(model.ffn.kind == config::FfnKind::moe, "a mixture of experts");
  need(moe.first_dense == 0 && moe.every == 1, "a mixture in every layer");
  need(moe.router.kind == config::RouterKind::mlp, "model.ffn.moe.router.kind mlp");
  need(moe.router.depth_average, "model.ffn.moe.router.depth_average");
  need(moe.skip, "model.ffn.moe.skip");
  need(moe.n_shared == 0, "model.ffn.moe.n_shared = 0");
  need(model.residual_scale, "model.residual_scale");
  need(cca.convs == 2, "model.attention.cca.convs = 2");
  need(cca.value_shift, "model.attention.cca.value_shift");
  need(cca.key_temperature == config::KeyTemperature::linear, "linear key temperatures");
  return HfFamily::zaya;
}

HfFamily gqa_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  const bool qk_norm = model.attention.qk_norm;
  if (model.ffn.kind == config::FfnKind::dense) return qk_norm ? HfFamily::qwen3 : HfFamily::llama;
  if (!qk_norm) no_family("a mixture of experts without model.attention.qk_norm");
  if (moe.selection_bias) no_family("model.ffn.moe.selection_bias with gqa or mha");
  if (moe.n_shared > 0) no_family("shared experts with gqa or mha");
  return HfFamily::qwen3_moe;
}

}  // namespace

const char* name_of(HfFamily family) {
  switch (family) {
    case HfFamily::llama:
      return "llama";
    case HfFamily::qwen3:
      return "qwen3";
    case HfFamily::qwen3_moe:
      return "qwen3_moe";
    case HfFamily::deepseek_v3:
      return "deepseek_v3";
    case HfFamily::zaya:
      return "zaya";
  }
  return "?";
}

HfFamily hf_family(const config::Model& model) {
  const bool cca = model.attention.kind == config::AttentionKind::cca ||
                   model.attention.kind == config::AttentionKind::ccgqa;
  if (!cca && model.residual_scale) no_family("model.residual_scale without cca or ccgqa");
  if (!cca && model.ffn.moe.router.kind != config::RouterKind::linear) {
    no_family("model.ffn.moe.router.kind mlp without cca or ccgqa");
  }
  if (!cca && model.ffn.moe.skip) no_family("model.ffn.moe.skip without cca or ccgqa");
  switch (model.attention.kind) {
    case config::AttentionKind::mha:
    case config::AttentionKind::gqa:
      return gqa_family(model);
    case config::AttentionKind::mla:
      return mla_family(model);
    case config::AttentionKind::cca:
    case config::AttentionKind::ccgqa:
      return cca_family(model);
  }
  no_family("this attention kind");
}

std::vector<NameMapEntry> name_map(const config::Model& model) {
  return MapBuilder(model, hf_family(model)).build();
}

}  // namespace strait::io
