#include "model/counts.h"

#include <algorithm>

#include "model/count_attention.h"

namespace strait::model {
namespace {

PartCount dense(const std::string& part, std::int64_t parameters) {
  return {part, parameters, parameters, 2.0 * static_cast<double>(parameters)};
}

void add_attention(const config::Model& model, ModelCounts& counts) {
  const AttentionCount layer = count_attention(model);
  const std::int64_t L = model.n_layers;
  const std::int64_t projections = layer.parameters(ItemRole::projection);
  const std::int64_t convolutions = layer.parameters(ItemRole::convolution);
  const std::int64_t vectors = layer.parameters(ItemRole::vector);
  counts.parts.push_back(dense("attention projections", L * projections));
  if (convolutions > 0) counts.parts.push_back(dense("attention convolutions", L * convolutions));
  if (vectors > 0) counts.parts.push_back({"attention vectors", L * vectors, L * vectors, 0});
  counts.core_flops_per_pair = 2.0 * static_cast<double>(L * layer.core_width);
  counts.cache_per_token = L * layer.cache;
}

void add_router(const config::Model& model, std::int64_t layers, ModelCounts& counts) {
  const config::Moe& moe = model.ffn.moe;
  const std::int64_t R = moe.router.width, classes = moe.n_experts + (moe.skip ? 1 : 0);
  if (moe.router.kind == config::RouterKind::linear) {
    counts.parts.push_back(dense("router", layers * model.d_model * classes));
    return;
  }
  counts.parts.push_back(dense("router", layers * R * (model.d_model + 2 * R + classes)));
  // Three biases and a norm; the first mixture has nothing to average with.
  const std::int64_t factors = moe.router.depth_average ? layers - 1 : 0;
  const std::int64_t vectors = (4 * layers + factors) * R;
  counts.parts.push_back({"router vectors", vectors, vectors, 0});
}

void add_ffn(const config::Model& model, ModelCounts& counts) {
  const config::Moe& moe = model.ffn.moe;
  const std::int64_t D = model.d_model;
  std::int64_t moe_layers = 0;
  for (std::int64_t i = 0; i < model.n_layers; ++i) {
    moe_layers += config::ffn_kind(model.ffn, i) == config::FfnKind::moe;
  }
  const std::int64_t dense_layers = model.n_layers - moe_layers;
  if (dense_layers > 0) {
    counts.parts.push_back(dense("feed-forward", dense_layers * 3 * D * model.ffn.d_ff));
  }
  if (moe_layers == 0) return;
  add_router(model, moe_layers, counts);
  const std::int64_t expert = 3 * D * moe.d_expert;
  const std::int64_t active = moe_layers * moe.top_k * expert;
  counts.parts.push_back(
      {"experts", moe_layers * moe.n_experts * expert, active, 2.0 * static_cast<double>(active)});
  if (moe.n_shared > 0) {
    counts.parts.push_back(dense("shared experts", moe_layers * moe.n_shared * expert));
  }
}

}  // namespace

std::int64_t ModelCounts::parameters() const {
  std::int64_t n = 0;
  for (const PartCount& part : parts) n += part.parameters;
  return n;
}

std::int64_t ModelCounts::active() const {
  std::int64_t n = 0;
  for (const PartCount& part : parts) n += part.active;
  return n;
}

double ModelCounts::flops_per_token() const {
  double flops = 0;
  for (const PartCount& part : parts) flops += part.flops_per_token;
  return flops;
}

double ModelCounts::forward_flops(double tokens, double pairs) const {
  return tokens * flops_per_token() + pairs * core_flops_per_pair;
}

ModelCounts count_model(const config::Model& model) {
  ModelCounts counts;
  const std::int64_t table = model.vocab_size * model.d_model;
  const std::int64_t norms = (2 * model.n_layers + 1) * model.d_model;
  counts.parts.push_back({"embedding", table, table, 0});
  add_attention(model, counts);
  add_ffn(model, counts);
  counts.parts.push_back({"norms", norms, norms, 0});
  if (model.residual_scale) {
    // Bias and scale of both terms of two sums a layer, and behind the embedding.
    const std::int64_t scales = (8 * model.n_layers + 2) * model.d_model;
    counts.parts.push_back({"residual scales", scales, scales, 0});
  }
  // A tied head multiplies by the embedding table, which is counted above.
  const double head_flops = 2.0 * static_cast<double>(table);
  const std::int64_t head = model.tie_embeddings ? 0 : table;
  counts.parts.push_back({"head", head, head, head_flops});
  return counts;
}

double pairs_of(const config::Model& model, double doc_pos, double doc_len) {
  const config::Attention& attention = model.attention;
  if (!attention.causal) return doc_len;
  const auto seen = [&](std::int64_t window) {
    return (window > 0 ? std::min(doc_pos + 1, static_cast<double>(window)) : doc_pos + 1) - 0.5;
  };
  if (attention.sliding.pattern.empty()) return seen(attention.window);
  double pairs = 0;
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    const bool slides = config::slides(attention, layer);
    pairs += seen(slides ? attention.sliding.window : attention.window);
  }
  return pairs / static_cast<double>(model.n_layers);
}

double document_pairs(const config::Model& model, std::int64_t length) {
  double pairs = 0;
  for (std::int64_t t = 0; t < length; ++t) {
    pairs += pairs_of(model, static_cast<double>(t), static_cast<double>(length));
  }
  return pairs;
}

}  // namespace strait::model
