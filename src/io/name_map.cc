#include "io/name_map.h"

#include <utility>

#include "io/name_map_builder.h"

namespace strait::io {
namespace {

/// One decoder layer of llama, the qwen3 families or deepseek_v3.
class LayerMap {
 public:
  LayerMap(const config::Model& model, HfFamily family, NameMapBuilder& out)
      : model_(model), family_(family), out_(out) {}

  void add_layer(std::int64_t layer) {
    out_.enter("layers." + std::to_string(layer) + ".",
               "model.layers." + std::to_string(layer) + ".");
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

 private:
  void add(const std::string& part, const std::string& hf, std::vector<std::int64_t> shape,
           std::int64_t expert = -1) {
    out_.add(part, hf, std::move(shape), expert);
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
  NameMapBuilder& out_;
};

}  // namespace

std::vector<NameMapEntry> name_map(const config::Model& model) {
  const HfFamily family = hf_family(model);
  const std::vector<std::int64_t> table{model.vocab_size, model.d_model};
  NameMapBuilder out;
  out.add("embed.weight", "model.embed_tokens.weight", table);
  if (family == HfFamily::zaya) {
    add_zaya_layers(model, out);
  } else {
    LayerMap layers(model, family, out);
    for (std::int64_t layer = 0; layer < model.n_layers; ++layer) layers.add_layer(layer);
  }
  out.enter("", "");
  out.add("final_norm.weight", "model.norm.weight", {model.d_model});
  if (!model.tie_embeddings) out.add("lm_head.weight", "lm_head.weight", table);
  return std::move(out).entries();
}

std::vector<NameMapEntry> own_name_map(const core::ParamTable& table) {
  NameMapBuilder out;
  for (const core::Part& part : table.parts()) {
    if (part.param->spec.exported) out.add(part.name, part.name, part.global_shape);
  }
  return std::move(out).entries();
}

}  // namespace strait::io
