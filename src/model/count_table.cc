#include "model/count_table.h"

#include <cstdio>

namespace strait::model {
namespace {

using config::AttentionKind;

std::string sizes(const char* format, double a, double b = 0) {
  char text[64];
  std::snprintf(text, sizeof text, format, a, b);
  return text;
}

LayerCost gqa(const TableSymbols& t, double g) {
  const double share = 1 + 1 / g;
  return {.parameters = 2 * t.D * t.D * share,
          .cache = 2 * t.S * t.D / g,
          .forward_flops = share * 4 * t.S * t.D * t.D + 4 * t.D * t.S * t.S,
          .decode_flops = share * 4 * t.D * t.D + 4 * t.D * t.S};
}

LayerCost mla(const TableSymbols& t) {
  const double square = t.D * t.D, cq = t.C1, ckv = t.C2;
  return {.parameters = square + 3 * square / ckv + 2 * square / cq,
          .cache = t.S * t.D / ckv + t.S * t.d_rope,
          .forward_flops = 2 * t.S * square + 4 * t.S * square / cq + 6 * t.S * square / ckv +
                           4 * t.D * t.S * t.S};
}

/// CCA is the case C1 = C2. The e latent channels of h heads are e / h = d wide.
LayerCost ccgqa(const TableSymbols& t, double C1, double C2) {
  const double square = t.D * t.D, share = 1 / C1 + 1 / C2;
  const double latent = t.D * share, convolutions = latent * (t.n0 + t.d * t.n1);
  return {
      .parameters = 2 * square * share + convolutions,
      .cache = 2 * t.S * t.D / C2,
      .forward_flops = share * 4 * t.S * square + 4 * t.D * t.S * t.S / C1 + 2 * t.S * convolutions,
      .decode_flops = share * 4 * square + 4 * t.D * t.S / C1 + 2 * convolutions};
}

/// A cached latent serves in two ways: keys and values are expanded from it again, or the
/// up-projection moves to the query's and the output's side and scores are taken in the latent.
std::vector<DecodeMode> decode_mla(const config::Model& model, const AttentionCount& count,
                                   double S) {
  const config::Mla& m = model.attention.mla;
  const auto H = static_cast<double>(model.attention.n_heads);
  const auto rank = static_cast<double>(m.kv_rank), rope = static_cast<double>(m.rope_dim);
  const double up = rank * H * static_cast<double>(m.nope_dim + m.value_dim);
  const auto weights = static_cast<double>(count.multiplied());
  return {
      {"expanded", 2 * (weights - up) + 2 * up * S + 2 * S * static_cast<double>(count.core_width)},
      {"absorbed", 2 * weights + 2 * S * H * (2 * rank + rope)}};
}

}  // namespace

TableSymbols table_symbols(const config::Model& model, std::int64_t seq_len) {
  const config::Attention& a = model.attention;
  const auto D = static_cast<double>(model.d_model), d = static_cast<double>(a.head_dim);
  TableSymbols t{.D = D, .S = static_cast<double>(seq_len), .d = d, .d_rope = d / 2};
  if (a.kind == AttentionKind::mla) {
    t.C1 = a.mla.q_rank > 0 ? D / static_cast<double>(a.mla.q_rank) : 1.0;
    t.C2 = t.g = D / static_cast<double>(a.mla.kv_rank);
    t.d = static_cast<double>(a.mla.value_dim);
    t.d_rope = static_cast<double>(a.mla.rope_dim);
  } else {
    t.C1 = D / (static_cast<double>(a.n_heads) * d);
    t.C2 = D / (static_cast<double>(a.n_kv_heads) * d);
    t.g = static_cast<double>(a.n_heads) / static_cast<double>(a.n_kv_heads);
  }
  const config::Cca cca = config::is_cca(a.kind) ? a.cca : config::Cca{};
  if (cca.convs >= 1) t.n0 = static_cast<double>(cca.taps_depthwise);
  if (cca.convs >= 2) t.n1 = static_cast<double>(cca.taps_grouped);
  return t;
}

std::vector<TableRow> attention_table(const TableSymbols& t) {
  return {{"MHA", "", gqa(t, 1)},
          {"GQA", sizes("g %g", t.g), gqa(t, t.g)},
          {"MLA", sizes("cq %g, ckv %g", t.C1, t.C2), mla(t)},
          {"CCA", sizes("C %g", t.C2), ccgqa(t, t.C2, t.C2)},
          {"CCGQA", sizes("C1 %g, C2 %g", t.C1, t.C2), ccgqa(t, t.C1, t.C2)}};
}

DirectCount direct_count(const config::Model& model, std::int64_t seq_len) {
  DirectCount direct{.count = count_attention(model), .cost = {}, .decode = {}};
  const AttentionCount& count = direct.count;
  const auto S = static_cast<double>(seq_len);
  const auto weights = static_cast<double>(count.multiplied());
  const auto core = 2 * static_cast<double>(count.core_width);
  direct.cost = {.parameters = static_cast<double>(count.parameters()),
                 .cache = S * static_cast<double>(count.cache),
                 .forward_flops = 2 * S * weights + core * S * S};
  if (model.attention.kind == AttentionKind::mla) {
    direct.decode = decode_mla(model, count, S);
  } else {
    direct.cost.decode_flops = 2 * weights + core * S;
    direct.decode = {{"decode", *direct.cost.decode_flops}};
  }
  return direct;
}

}  // namespace strait::model
