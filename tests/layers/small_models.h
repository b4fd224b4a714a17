#pragma once

#include "config/config.h"

// Model configs as resolve() leaves them, small enough for finite differences.
namespace strait::test {

inline config::Model small_model(std::int64_t width = 9) {
  config::Model model;
  model.vocab_size = 11;
  model.d_model = width;
  model.n_layers = 2;
  model.init_std = 0.4;
  model.attention.rope.theta = 100.0;
  model.ffn.d_ff = 7;
  return model;
}

inline config::Model with_heads(config::AttentionKind kind, std::int64_t heads,
                                std::int64_t kv_heads, std::int64_t head_dim) {
  config::Model model = small_model();
  model.attention.kind = kind;
  model.attention.n_heads = heads;
  model.attention.n_kv_heads = kv_heads;
  model.attention.head_dim = head_dim;
  return model;
}

inline config::Model with_mla(std::int64_t heads, std::int64_t q_rank) {
  config::Model model = with_heads(config::AttentionKind::mla, heads, heads, 5);
  model.attention.mla = {
      .q_rank = q_rank, .kv_rank = 5, .nope_dim = 3, .rope_dim = 2, .value_dim = 4};
  return model;
}

/// Any of the five kinds with sizes of its own.
inline config::Model with_attention(config::AttentionKind kind) {
  using config::AttentionKind;
  switch (kind) {
    case AttentionKind::mha:
      return with_heads(kind, 2, 2, 4);
    case AttentionKind::gqa:
      return with_heads(kind, 4, 2, 4);
    case AttentionKind::mla:
      return with_mla(2, 4);
    case AttentionKind::cca:
      return with_heads(kind, 3, 3, 4);
    case AttentionKind::ccgqa:
      break;
  }
  return with_heads(AttentionKind::ccgqa, 4, 2, 4);
}

inline config::Model with_experts(config::Model model, const config::Moe& moe) {
  model.ffn.kind = config::FfnKind::moe;
  model.ffn.moe = moe;
  return model;
}

/// ZAYA1 with everything it has.
inline config::Model small_zaya() {
  config::Model model =
      with_experts(with_attention(config::AttentionKind::ccgqa),
                   {.n_experts = 4,
                    .d_expert = 5,
                    .router = {.kind = config::RouterKind::mlp, .width = 6, .depth_average = true},
                    .skip = true,
                    .selection_bias = true,
                    .bias_rate = 1e-3});
  model.n_layers = 3;
  model.init_std = 0.6;
  model.tie_embeddings = model.residual_scale = true;
  model.attention.sliding = {.pattern = "fs", .window = 2, .theta = 7.0};
  model.attention.rope.fraction = 0.5;
  model.attention.cca.key_temperature = config::KeyTemperature::linear;
  return model;
}

}  // namespace strait::test
