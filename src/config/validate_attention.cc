#include <cmath>

#include "config/resolve.h"
#include "config/rules.h"
#include "config/schema.h"

namespace strait::config {
namespace {

constexpr const char* kKind = "model.attention.kind";
constexpr const char* kHeads = "model.attention.n_heads";
constexpr const char* kKvHeads = "model.attention.n_kv_heads";
constexpr const char* kHeadDim = "model.attention.head_dim";
constexpr const char* kFraction = "model.attention.rope.fraction";

/// mha, mla and cca have one key/value head per query head.
void validate_equal_heads(const Rules& rules) {
  const Attention& attention = rules.config().model.attention;
  if (kv_heads(attention) == attention.n_heads) return;
  const bool cca = attention.kind == AttentionKind::cca;
  const std::string grouped =
      attention.kind == AttentionKind::mla
          ? ""
          : std::string("; for fewer choose kind ") + (cca ? "ccgqa" : "gqa");
  rules.fail(kKvHeads,
             "must be 0 or equal " + rules.quote(kHeads) + " with " + rules.quote(kKind) + grouped);
}

/// gqa and ccgqa share each key/value head among equally many query heads.
void validate_grouped_heads(const Rules& rules) {
  const Attention& attention = rules.config().model.attention;
  if (attention.n_kv_heads == 0) {
    rules.fail(kKvHeads, "must be given with " + rules.quote(kKind) + "; expected a divisor of " +
                             rules.quote(kHeads));
  }
  if (attention.n_kv_heads > attention.n_heads) {
    rules.fail(kKvHeads, "must be at most " + rules.quote(kHeads) + "; lower it or add heads");
  }
  if (attention.n_heads % attention.n_kv_heads != 0) {
    rules.fail(kHeads, "must be divisible by " + rules.quote(kKvHeads) + "; try " +
                           multiples_near(attention.n_heads, attention.n_kv_heads));
  }
  if (attention.kind == AttentionKind::ccgqa && attention.n_kv_heads == attention.n_heads) {
    rules.fail(kKvHeads, "must be less than " + rules.quote(kHeads) + " with " +
                             rules.quote(kKind) + "; with equal numbers choose kind cca");
  }
}

void validate_head_dim(const Rules& rules) {
  const Model& model = rules.config().model;
  const Attention& attention = model.attention;
  if (attention.kind == AttentionKind::mla) {
    if (attention.head_dim == 0 || attention.head_dim == head_dim(model)) return;
    rules.fail(kHeadDim, "must be " + std::to_string(head_dim(model)) + ", the sum of " +
                             rules.quote("model.attention.mla.nope_dim") + " and " +
                             rules.quote("model.attention.mla.rope_dim") + "; leave it out");
  }
  if (attention.head_dim == 0 && model.d_model % attention.n_heads != 0) {
    rules.fail(kHeads, "must divide " + rules.quote("model.d_model") + " while " + kHeadDim +
                           " is left out; set head_dim, or d_model to " +
                           multiples_near(model.d_model, attention.n_heads));
  }
}

void validate_rope(const Rules& rules) {
  const Model& model = rules.config().model;
  const double fraction = model.attention.rope.fraction;
  if (model.attention.kind == AttentionKind::mla) {
    if (fraction == 1.0) return;
    rules.fail(kFraction, "must be 1 with " + rules.quote(kKind) +
                              "; model.attention.mla.rope_dim says how much rotates");
  }
  const std::int64_t width = head_dim(model);
  const double channels = fraction * static_cast<double>(width);
  const double rounding = 1e-9 * static_cast<double>(width);  // of fractions such as 14/15
  const double even = 2.0 * std::floor((channels + rounding) / 2.0);
  if (channels - even <= rounding) return;
  rules.fail(kFraction, "rotates " + show(Value(channels)) + " of " + std::to_string(width) +
                            " channels of a head (model.attention.head_dim), expected an even "
                            "number; try " +
                            show(Value(even / static_cast<double>(width))) +
                            " or an even head_dim");
}

void validate_mask(const Rules& rules) {
  const Attention& attention = rules.config().model.attention;
  if (attention.window > 0 && !attention.causal) {
    rules.fail("model.attention.window",
               "a window looks back only and needs " +
                   std::string("model.attention.causal = true; set it, ") + "or window to 0");
  }
  const bool has_qk_norm =
      attention.kind == AttentionKind::mha || attention.kind == AttentionKind::gqa;
  if (attention.qk_norm && !has_qk_norm) {
    rules.fail("model.attention.qk_norm", "is for kinds mha and gqa only, not " +
                                              rules.quote(kKind) +
                                              ", which has norms of its own; set it to false");
  }
}

void validate_sliding(const Rules& rules) {
  const Sliding& sliding = rules.config().model.attention.sliding;
  constexpr const char* kPattern = "model.attention.sliding.pattern";
  constexpr const char* kWindow = "model.attention.sliding.window";
  if (sliding.pattern.empty()) {
    rules.expect_unused("model.attention.sliding", kPattern);
    return;
  }
  if (sliding.pattern.find_first_not_of("fs") != std::string::npos) {
    rules.fail(kPattern, "expected the letters f (full) and s (sliding), such as fssf");
  }
  const std::int64_t layers = rules.config().model.n_layers;
  if (static_cast<std::int64_t>(sliding.pattern.size()) > layers) {
    rules.fail(kPattern, "is longer than the " + rules.quote("model.n_layers") + "; shorten it");
  }
  if (sliding.pattern.find('s') == std::string::npos) {
    rules.fail(kPattern, "has no sliding layer (s); leave it out");
  }
  if (sliding.window == 0) {
    rules.fail(kWindow, "must be at least 1 with " + rules.quote(kPattern));
  }
  if (!rules.config().model.attention.causal) {
    rules.fail(kPattern,
               "a window looks back only and needs model.attention.causal = true; set "
               "it, or leave the pattern out");
  }
}

void validate_cca(const Rules& rules) {
  const Model& model = rules.config().model;
  const std::int64_t values = kv_heads(model.attention) * head_dim(model);
  if (model.attention.cca.value_shift && values % 2 != 0) {
    rules.fail("model.attention.cca.value_shift",
               "delays half of the n_kv_heads * head_dim = " + std::to_string(values) +
                   " value channels, which must be even; change head_dim or set it to false");
  }
  const Cca& cca = model.attention.cca;
  if (!cca.norm && cca.key_temperature != Cca{}.key_temperature) {
    rules.fail("model.attention.cca.key_temperature", "has no effect with " +
                                                          rules.quote("model.attention.cca.norm") +
                                                          "; leave it out or set norm to true");
  }
}

void validate_mla(const Rules& rules) {
  for (const char* name : {"kv_rank", "nope_dim", "rope_dim", "value_dim"}) {
    const std::string path = std::string("model.attention.mla.") + name;
    const Key& key = key_at(path);
    if (key.get(rules.config()) == Value(std::int64_t{0})) {
      rules.fail(path, "must be at least 1 with " + rules.quote(kKind) + " (" +
                           std::string(key.meaning) + ")");
    }
  }
  const std::int64_t rope_dim = rules.config().model.attention.mla.rope_dim;
  if (rope_dim % 2 != 0) {
    rules.fail("model.attention.mla.rope_dim",
               "must be even, since channels rotate in pairs; try " + multiples_near(rope_dim, 2));
  }
}

}  // namespace

void validate_attention(const Rules& rules) {
  const AttentionKind kind = rules.config().model.attention.kind;
  const bool grouped = kind == AttentionKind::gqa || kind == AttentionKind::ccgqa;
  if (grouped) {
    validate_grouped_heads(rules);
  } else {
    validate_equal_heads(rules);
  }
  validate_head_dim(rules);
  validate_mask(rules);
  validate_sliding(rules);
  if (is_cca(kind)) {
    validate_cca(rules);
  } else {
    rules.expect_unused("model.attention.cca", kKind);
  }
  if (kind == AttentionKind::mla) {
    validate_mla(rules);
  } else {
    rules.expect_unused("model.attention.mla", kKind);
  }
  validate_rope(rules);
}

}  // namespace strait::config
