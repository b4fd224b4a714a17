#include <algorithm>

#include "config/resolve.h"
#include "config/rules.h"

// What heads, widths and experts allow of a mesh. How many ranks there are is resolve's matter.
namespace strait::config {
namespace {

/// `size` of `what` must divide over the ranks of `axis`.
void expect_divides(const Rules& rules, std::string_view axis, std::int64_t ranks,
                    std::int64_t size, const std::string& what) {
  if (size % ranks == 0) return;
  std::int64_t below = std::min(ranks, size);
  while (size % below != 0) --below;
  rules.fail(axis, "must divide " + what + "; the next below is " + std::to_string(below));
}

/// A convolution reaches at most one chunk back.
std::int64_t columns_back(const Attention& attention) {
  if (!is_cca(attention.kind)) return 0;
  return std::max<std::int64_t>(history_columns(attention.cca), attention.cca.value_shift ? 1 : 0);
}

void validate_tensor(const Rules& rules) {
  const Model& model = rules.config().model;
  const std::int64_t tp = rules.config().parallel.tp;
  if (tp == 1) return;
  const std::int64_t kv = kv_heads(model.attention);
  expect_divides(rules, "parallel.tp", tp, kv,
                 "the " + std::to_string(kv) + " key/value heads, which ranks share out whole");
  expect_divides(rules, "parallel.tp", tp, model.attention.n_heads,
                 rules.quote("model.attention.n_heads"));
  if (model.ffn.d_ff > 0) {
    expect_divides(rules, "parallel.tp", tp, model.ffn.d_ff, rules.quote("model.ffn.d_ff"));
  }
  const Moe& moe = model.ffn.moe;
  const bool cuts_experts = rules.config().parallel.ep == 1 || moe.n_shared > 0;
  if (model.ffn.kind == FfnKind::moe && cuts_experts) {
    expect_divides(rules, "parallel.tp", tp, moe.d_expert, rules.quote("model.ffn.moe.d_expert"));
  }
}

void validate_experts(const Rules& rules) {
  const Ffn& ffn = rules.config().model.ffn;
  const std::int64_t ep = rules.config().parallel.ep;
  if (ep == 1) return;
  if (ffn.kind != FfnKind::moe) {
    rules.fail("parallel.ep", "has no effect with " + rules.quote("model.ffn.kind") +
                                  "; leave it at 1 or set model.ffn.kind to moe");
  }
  expect_divides(rules, "parallel.ep", ep, ffn.moe.n_experts,
                 rules.quote("model.ffn.moe.n_experts"));
}

void validate_context(const Rules& rules) {
  const Config& config = rules.config();
  const std::int64_t cp = config.parallel.cp;
  if (cp == 1) return;
  const std::int64_t columns = columns_back(config.model.attention);
  const std::int64_t chunk = (config.data.seq_len + 2 * cp - 1) / (2 * cp);
  if (chunk >= columns) return;
  rules.fail("parallel.cp", "cuts " + rules.quote("data.seq_len") + " into chunks of " +
                                std::to_string(chunk) + " tokens, but the convolutions look " +
                                std::to_string(columns) + " back; lower it or lengthen sequences");
}

}  // namespace

void validate_parallel(const Rules& rules) {
  validate_tensor(rules);
  validate_experts(rules);
  validate_context(rules);
  const Parallel& parallel = rules.config().parallel;
  if (rules.config().eval.sample_tokens > 0 && (parallel.cp > 1 || parallel.tp > 1)) {
    rules.fail("eval.sample_tokens",
               "text is generated on one rank that holds the whole model, not with " +
                   rules.quote("parallel.cp") + " and " + rules.quote("parallel.tp") +
                   "; set it to 0 and use generate on the finished run");
  }
}

}  // namespace strait::config
