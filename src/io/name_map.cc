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
    for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) add_layer(layer);
    ours_.clear();
    theirs_.clear();
    add("final_norm.weight", "model.norm.weight", {model_.d_model});
    if (!model_.tie_embeddings) add("lm_head.weight", "lm_head.weight", table);
    return std::move(entries_);
  }

 private:
  void add(const std::string& part, const std::string& hf, Shape shape, std::int64_t expert = -1) {
    entries_.push_back({ours_ + part, expert, theirs_ + hf, std::move(shape)});
  }

  void add_layer(std::int64_t layer) {
    ours_ = "layers." + std::to_string(layer) + ".";
    theirs_ = "model.layers." + std::to_string(layer) + ".";
    add("attn_norm.weight", "input_layernorm.weight", {model_.d_model});
    if (family_ == HfFamily::deepseek_v3) {
      add_mla();
    } else {
      add_gqa();
    }
    add("ffn_norm.weight", "post_attention_layernorm.weight", {model_.d_model});
    if (config::ffn_kind(model_.ffn, layer) == config::FfnKind::moe) {
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
  throw core::InputError("no Hugging Face layout (llama, qwen3, qwen3_moe, deepseek_v3) holds " +
                         why);
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
  }
  return "?";
}

HfFamily hf_family(const config::Model& model) {
  switch (model.attention.kind) {
    case config::AttentionKind::mha:
    case config::AttentionKind::gqa:
      return gqa_family(model);
    case config::AttentionKind::mla:
      return mla_family(model);
    case config::AttentionKind::cca:
    case config::AttentionKind::ccgqa:
      break;
  }
  no_family("attention kinds cca and ccgqa");
}

std::vector<NameMapEntry> name_map(const config::Model& model) {
  return MapBuilder(model, hf_family(model)).build();
}

}  // namespace strait::io
