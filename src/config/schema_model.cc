#include <string>
#include <vector>

#include "config/schema_key.h"

namespace strait::config {
namespace {

template <auto... members>
Key model(const char* name, const About& about) {
  return make_key<&Config::model, members...>(std::string("model.") + name, about);
}

template <auto... members>
Key attention(const char* name, const About& about) {
  return make_key<&Config::model, &Model::attention, members...>(
      std::string("model.attention.") + name, about);
}

template <auto member>
Key rope(const char* name, const About& about) {
  return attention<&Attention::rope, member>((std::string("rope.") + name).c_str(), about);
}

template <auto member>
Key sliding(const char* name, const About& about) {
  return attention<&Attention::sliding, member>((std::string("sliding.") + name).c_str(), about);
}

template <auto member>
Key cca(const char* name, const About& about) {
  return attention<&Attention::cca, member>((std::string("cca.") + name).c_str(), about);
}

template <auto member>
Key mla(const char* name, const About& about) {
  return attention<&Attention::mla, member>((std::string("mla.") + name).c_str(), about);
}

template <auto... members>
Key ffn(const char* name, const About& about) {
  return make_key<&Config::model, &Model::ffn, members...>(std::string("model.ffn.") + name, about);
}

template <auto... members>
Key moe(const char* name, const About& about) {
  return ffn<&Ffn::moe, members...>((std::string("moe.") + name).c_str(), about);
}

template <auto member>
Key router(const char* name, const About& about) {
  return moe<&Moe::router, member>((std::string("router.") + name).c_str(), about);
}

void append_model(std::vector<Key>& keys) {
  const Range size = between(1, kMaxSize);
  keys.push_back(model<&Model::vocab_size>(
      "vocab_size",
      {"tokens", "rows of the embedding, V; 0: the tokenizer's size", between(0, kMaxSize)}));
  keys.push_back(model<&Model::d_model>(
      "d_model", {"channels", "width of the residual stream, D", size, true}));
  keys.push_back(
      model<&Model::n_layers>("n_layers", {"layers", "transformer blocks, L", size, true}));
  keys.push_back(model<&Model::tie_embeddings>("tie_embeddings",
                                               {"", "the LM head shares the embedding's weights"}));
  keys.push_back(model<&Model::norm_eps>(
      "norm_eps", {"mean square", "added under the root of every RMS norm", above(0, 1)}));
  keys.push_back(model<&Model::init_std>(
      "init_std", {"standard deviation", "of initial projections and embeddings", above(0, 10)}));
  keys.push_back(model<&Model::residual_scale>(
      "residual_scale",
      {"", "each term of a residual sum gets a learned bias, then a learned scale (ZAYA1)"}));
}

void append_attention(std::vector<Key>& keys) {
  keys.push_back(attention<&Attention::kind>("kind", {"", "which attention every layer uses"}));
  keys.push_back(attention<&Attention::n_heads>(
      "n_heads", {"heads", "query heads, H", between(1, kMaxSize), true}));
  keys.push_back(attention<&Attention::n_kv_heads>(
      "n_kv_heads",
      {"heads", "key/value heads, G; 0: n_heads (mha, cca, mla)", between(0, kMaxSize)}));
  keys.push_back(attention<&Attention::head_dim>(
      "head_dim",
      {"channels", "width of a head, d; 0: d_model / n_heads (mla: nope_dim + rope_dim)",
       between(0, kMaxSize)}));
  keys.push_back(attention<&Attention::causal>("causal", {"", "a token sees no later token"}));
  keys.push_back(attention<&Attention::window>(
      "window",
      {"tokens", "sliding window, the own token included; 0: no window", between(0, kMaxCount)}));
  keys.push_back(sliding<&Sliding::pattern>(
      "pattern", {"",
                  "f (full) and s (sliding) for one layer after the other, repeated; empty: "
                  "all full"}));
  keys.push_back(sliding<&Sliding::window>(
      "window", {"tokens", "as attention.window, of the sliding layers", between(0, kMaxCount)}));
  keys.push_back(sliding<&Sliding::theta>(
      "theta", {"base", "as rope.theta, of the sliding layers", above(0, kMaxCount)}));
  keys.push_back(attention<&Attention::qk_norm>(
      "qk_norm", {"", "RMS norm with weight on each query and key head (mha, gqa)"}));
  keys.push_back(rope<&Rope::theta>(
      "theta",
      {"base", "channel pair i of r rotates by position * theta^(-2i/r)", above(0, kMaxCount)}));
  keys.push_back(rope<&Rope::fraction>(
      "fraction", {"ratio", "leading part of each head that rotates; 0: none", between(0, 1)}));
  keys.push_back(rope<&Rope::interleaved>("interleaved",
                                          {"", "pairs are (2i, 2i + 1) instead of (i, i + r/2)"}));
  keys.push_back(rope<&Rope::positions>(
      "positions", {"", "positions count from the start of the document or of the sequence"}));
}

void append_attention_kinds(std::vector<Key>& keys) {
  keys.push_back(cca<&Cca::convs>(
      "convs",
      {"convolutions", "0, 1 (depthwise) or 2 (depthwise, then per head)", between(0, 2)}));
  keys.push_back(cca<&Cca::taps_depthwise>(
      "taps_depthwise", {"taps", "length of the depthwise convolution, n0", between(1, 64)}));
  keys.push_back(cca<&Cca::taps_grouped>(
      "taps_grouped", {"taps", "length of the convolution per head, n1", between(1, 64)}));
  keys.push_back(cca<&Cca::qk_mean>(
      "qk_mean", {"", "add the mean of query and key heads from before the convolutions"}));
  keys.push_back(cca<&Cca::value_shift>(
      "value_shift", {"", "the second half of the value channels comes from the previous token"}));
  keys.push_back(cca<&Cca::norm>(
      "norm", {"", "L2 norm of query and key heads and a key temperature; false: neither"}));
  keys.push_back(cca<&Cca::key_temperature>(
      "key_temperature", {"", "learned factor on keys: exp(beta) or beta itself"}));
  keys.push_back(mla<&Mla::q_rank>(
      "q_rank", {"channels", "width of the query latent; 0: queries are projected directly",
                 between(0, kMaxSize)}));
  keys.push_back(mla<&Mla::kv_rank>(
      "kv_rank", {"channels", "width of the key/value latent", between(0, kMaxSize)}));
  keys.push_back(mla<&Mla::nope_dim>(
      "nope_dim", {"channels", "part of a query/key head without rotation", between(0, kMaxSize)}));
  keys.push_back(mla<&Mla::rope_dim>(
      "rope_dim", {"channels", "part of a query/key head that rotates, keys shared by all heads",
                   between(0, kMaxSize)}));
  keys.push_back(mla<&Mla::value_dim>("value_dim",
                                      {"channels", "width of a value head", between(0, kMaxSize)}));
  keys.push_back(mla<&Mla::norm_eps>(
      "norm_eps", {"mean square", "as model.norm_eps, for the norms of the latents", above(0, 1)}));
}

void append_ffn(std::vector<Key>& keys) {
  keys.push_back(ffn<&Ffn::kind>("kind", {"", "dense SwiGLU, or a mixture of experts"}));
  keys.push_back(ffn<&Ffn::d_ff>(
      "d_ff", {"channels", "hidden width of dense layers, F", between(0, kMaxSize)}));
  keys.push_back(moe<&Moe::n_experts>(
      "n_experts", {"experts", "routed experts per layer, E", between(0, 1 << 16)}));
  keys.push_back(
      moe<&Moe::top_k>("top_k", {"experts", "experts per token, K", between(1, 1 << 16)}));
  keys.push_back(moe<&Moe::d_expert>(
      "d_expert", {"channels", "hidden width of an expert", between(0, kMaxSize)}));
  keys.push_back(moe<&Moe::n_shared>(
      "n_shared",
      {"experts", "experts that see every token, each d_expert wide", between(0, 1 << 16)}));
  keys.push_back(moe<&Moe::first_dense>(
      "first_dense", {"layers", "leading layers with a dense feed-forward", between(0, kMaxSize)}));
  keys.push_back(moe<&Moe::every>(
      "every", {"layers", "of the other layers every n-th has experts, the rest are dense",
                between(1, kMaxSize)}));
}

void append_router(std::vector<Key>& keys) {
  keys.push_back(router<&Router::kind>(
      "kind", {"", "what makes router logits: one projection, or a small network (ZAYA1)"}));
  keys.push_back(router<&Router::width>(
      "width", {"channels", "width of the mlp's state, R", between(0, kMaxSize)}));
  keys.push_back(router<&Router::depth_average>(
      "depth_average", {"",
                        "the mlp's state adds that of the mixture before, times a learned "
                        "factor per channel"}));
  keys.push_back(moe<&Moe::skip>(
      "skip", {"", "one class more, without an expert: its tokens pass by; selection bias -1"}));
}

void append_routing(std::vector<Key>& keys) {
  keys.push_back(moe<&Moe::score>("score", {"", "how router logits become scores"}));
  keys.push_back(
      moe<&Moe::renormalise>("renormalise", {"", "divide a token's expert weights by their sum"}));
  keys.push_back(moe<&Moe::groups>(
      "groups",
      {"groups", "experts form this many equal groups; 1: no grouping", between(1, 1 << 16)}));
  keys.push_back(moe<&Moe::top_groups>(
      "top_groups", {"groups", "groups a token may choose experts from", between(1, 1 << 16)}));
  keys.push_back(
      moe<&Moe::scale>("scale", {"factor", "multiplies the expert weights", above(0, 1e6)}));
  keys.push_back(moe<&Moe::selection_bias>(
      "selection_bias", {"", "a bias per expert that takes part in the selection only"}));
  keys.push_back(moe<&Moe::bias_rate>(
      "bias_rate",
      {"score per step", "step of selection biases towards balance; 0: they stay", between(0, 1)}));
  keys.push_back(moe<&Moe::bias_rule>(
      "bias_rule", {"", "sign: steps of bias_rate; adamw: by the surplus of tokens (ZAYA1)"}));
  keys.push_back(moe<&Moe::forced_balance>(
      "forced_balance",
      {"", "experts take the places of a sequence in turn, whatever the scores; for benchmarks"}));
  keys.push_back(moe<&Moe::aux_coef>(
      "aux_coef", {"factor", "weight of the balance loss per sequence; 0: none", between(0, 1e3)}));
  keys.push_back(moe<&Moe::z_coef>(
      "z_coef",
      {"factor", "weight of the squared log-sum-exp of router logits; 0: none", between(0, 1e3)}));
}

}  // namespace

void append_model_keys(std::vector<Key>& keys) {
  append_model(keys);
  append_attention(keys);
  append_attention_kinds(keys);
  append_ffn(keys);
  append_router(keys);
  append_routing(keys);
}

}  // namespace strait::config
