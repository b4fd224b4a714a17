#include "model/count_attention.h"

namespace strait::model {
namespace {

using config::AttentionKind;

AttentionItem vectors(const std::string& name, std::int64_t parameters) {
  return {name, ItemRole::vector, parameters};
}

AttentionItem convolution(const std::string& name, std::int64_t parameters) {
  return {name, ItemRole::convolution, parameters};
}

/// The columns that carry rotation are items of their own: Table II of the paper leaves them out.
AttentionCount count_mla(const config::Model& model) {
  const config::Attention& a = model.attention;
  const config::Mla& m = a.mla;
  const std::int64_t D = model.d_model, H = a.n_heads;
  AttentionCount count;
  if (m.q_rank > 0) count.items.push_back({.name = "q_a", .parameters = D * m.q_rank});
  const std::int64_t q_in = m.q_rank > 0 ? m.q_rank : D;
  const std::string q = m.q_rank > 0 ? "q_b" : "q";
  count.items.push_back({.name = q, .parameters = q_in * H * m.nope_dim});
  count.items.push_back({.name = q + ", rope columns", .parameters = q_in * H * m.rope_dim});
  count.items.push_back({.name = "kv_a", .parameters = D * m.kv_rank});
  count.items.push_back({.name = "kv_a, rope columns", .parameters = D * m.rope_dim});
  count.items.push_back({.name = "kv_b", .parameters = m.kv_rank * H * (m.nope_dim + m.value_dim)});
  count.items.push_back({.name = "o", .parameters = H * m.value_dim * D});
  count.items.push_back(vectors("norms", m.q_rank + m.kv_rank));
  count.core_width = H * (m.nope_dim + m.rope_dim + m.value_dim);
  count.cache = m.kv_rank + m.rope_dim;
  return count;
}

AttentionCount count_heads(const config::Model& model) {
  const config::Attention& a = model.attention;
  const std::int64_t D = model.d_model, q = a.n_heads * a.head_dim, kv = a.n_kv_heads * a.head_dim;
  AttentionCount count;
  count.items = {{.name = "q", .parameters = D * q},
                 {.name = "k", .parameters = D * kv},
                 {.name = "v", .parameters = D * kv},
                 {.name = "o", .parameters = q * D}};
  if (a.qk_norm) count.items.push_back(vectors("norms", 2 * a.head_dim));
  count.core_width = 2 * q;
  count.cache = 2 * kv;
  return count;
}

AttentionCount count_cca(const config::Model& model) {
  const config::Attention& a = model.attention;
  const std::int64_t latent = (a.n_heads + a.n_kv_heads) * a.head_dim;
  AttentionCount count = count_heads(model);
  if (a.cca.convs >= 1) {
    count.items.push_back(convolution("conv0", latent * a.cca.taps_depthwise));
  }
  if (a.cca.convs >= 2) {
    count.items.push_back(convolution("conv1", latent * a.cca.taps_grouped * a.head_dim));
  }
  if (a.cca.convs >= 1) count.items.push_back(vectors("biases", latent * a.cca.convs));
  if (a.cca.norm) count.items.push_back(vectors("temperatures", a.n_kv_heads));
  return count;
}

}  // namespace

std::int64_t AttentionCount::parameters() const {
  std::int64_t n = 0;
  for (const AttentionItem& item : items) n += item.parameters;
  return n;
}

std::int64_t AttentionCount::parameters(ItemRole role) const {
  std::int64_t n = 0;
  for (const AttentionItem& item : items) n += item.role == role ? item.parameters : 0;
  return n;
}

std::int64_t AttentionCount::multiplied() const {
  return parameters() - parameters(ItemRole::vector);
}

AttentionCount count_attention(const config::Model& model) {
  switch (model.attention.kind) {
    case AttentionKind::mla:
      return count_mla(model);
    case AttentionKind::cca:
    case AttentionKind::ccgqa:
      return count_cca(model);
    default:
      return count_heads(model);
  }
}

}  // namespace strait::model
