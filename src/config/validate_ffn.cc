#include "config/config.h"
#include "config/rules.h"

namespace strait::config {
namespace {

constexpr const char* kExperts = "model.ffn.moe.n_experts";
constexpr const char* kTopK = "model.ffn.moe.top_k";
constexpr const char* kGroups = "model.ffn.moe.groups";
constexpr const char* kTopGroups = "model.ffn.moe.top_groups";

bool has_layer(const Model& model, FfnKind kind) {
  for (std::int64_t layer = 0; layer < model.n_layers; ++layer) {
    if (ffn_kind(model.ffn, layer) == kind) return true;
  }
  return false;
}

void validate_pattern(const Rules& rules) {
  const Model& model = rules.config().model;
  if (model.ffn.moe.first_dense >= model.n_layers) {
    rules.fail("model.ffn.moe.first_dense",
               "leaves no layer with experts; must be less than " + rules.quote("model.n_layers"));
  }
  if (!has_layer(model, FfnKind::moe)) {
    rules.fail("model.ffn.moe.every",
               "leaves no layer with experts; must be at most " +
                   std::to_string(model.n_layers - model.ffn.moe.first_dense) +
                   ", the layers after first_dense");
  }
}

void validate_experts(const Rules& rules) {
  const Moe& moe = rules.config().model.ffn.moe;
  if (moe.n_experts == 0) {
    rules.fail(kExperts, "must be at least 1 with " + rules.quote("model.ffn.kind"));
  }
  if (moe.d_expert == 0) {
    rules.fail("model.ffn.moe.d_expert",
               "must be at least 1 with " + rules.quote("model.ffn.kind"));
  }
  if (moe.top_k > moe.n_experts) {
    rules.fail(kTopK, "must be at most " + rules.quote(kExperts) + "; lower it or add experts");
  }
}

/// Groups are ranked by the sum of their two best experts (DeepSeek-V3), so each needs two.
void validate_groups(const Rules& rules) {
  const Moe& moe = rules.config().model.ffn.moe;
  if (moe.n_experts % moe.groups != 0) {
    rules.fail(kExperts, "must be divisible by " + rules.quote(kGroups) + "; try " +
                             multiples_near(moe.n_experts, moe.groups));
  }
  const std::int64_t group_size = moe.n_experts / moe.groups;
  if (moe.groups > 1 && group_size < 2) {
    rules.fail(kGroups, "leaves " + std::to_string(group_size) + " expert per group of " +
                            rules.quote(kExperts) + ", expected at least 2; lower it");
  }
  if (moe.top_groups > moe.groups) {
    rules.fail(kTopGroups, "must be at most " + rules.quote(kGroups) + "; lower it");
  }
  if (moe.top_k > moe.top_groups * group_size) {
    rules.fail(kTopK, "must be at most " + std::to_string(moe.top_groups * group_size) +
                          ", the experts in the groups kept (" + rules.quote(kTopGroups) +
                          "); lower it or keep more groups");
  }
}

void validate_router(const Rules& rules) {
  const Moe& moe = rules.config().model.ffn.moe;
  constexpr const char* kKind = "model.ffn.moe.router.kind";
  if (moe.router.kind == RouterKind::linear) {
    rules.expect_unused("model.ffn.moe.router", kKind);
    return;
  }
  if (moe.router.width == 0) {
    rules.fail("model.ffn.moe.router.width", "must be at least 1 with " + rules.quote(kKind));
  }
  if (rules.config().precision.gradients == Storage::bf16) {
    rules.fail("precision.gradients", "does not go with " + rules.quote(kKind) +
                                          ", whose gradients are float32; set it to wide");
  }
}

/// A token that skips has one choice and no expert.
void validate_skip(const Rules& rules) {
  const Moe& moe = rules.config().model.ffn.moe;
  if (!moe.skip) return;
  constexpr const char* kSkip = "model.ffn.moe.skip";
  if (moe.top_k != 1) rules.fail(kTopK, "must be 1 with " + rules.quote(kSkip));
  if (moe.groups != 1) rules.fail(kGroups, "must be 1 with " + rules.quote(kSkip));
  if (!moe.selection_bias) {
    rules.fail(kSkip,
               "needs model.ffn.moe.selection_bias = true, whose last entry keeps tokens "
               "from skipping; set it, or skip to false");
  }
  if (moe.aux_coef != 0) {
    rules.fail("model.ffn.moe.aux_coef", "would balance the class without an expert too (" +
                                             rules.quote(kSkip) +
                                             "); balance by bias_rate instead");
  }
}

void validate_routing(const Rules& rules) {
  const Config& config = rules.config();
  const Moe& moe = config.model.ffn.moe;
  if (moe.bias_rate > 0 && !moe.selection_bias) {
    rules.fail("model.ffn.moe.bias_rate",
               "steps a bias that is not there; set model.ffn.moe.selection_bias to true, or this "
               "to 0");
  }
  if (moe.bias_rule == BiasRule::adamw && moe.bias_rate == 0) {
    rules.fail("model.ffn.moe.bias_rule",
               "has no step to take; set model.ffn.moe.bias_rate above "
               "0 (1e-3 is usual), or this to \"sign\"");
  }
  // A constant weight of 1 gives the router no gradient from the loss. A checkpoint may still be
  // so.
  if (moe.renormalise && moe.top_k == 1 && config.init.from.empty()) {
    rules.fail("model.ffn.moe.renormalise",
               "makes the weight of a single expert always 1, so the router would not learn with " +
                   rules.quote(kTopK) + "; set it to false or top_k to 2 or more");
  }
}

}  // namespace

void validate_ffn(const Rules& rules) {
  const Model& model = rules.config().model;
  if (model.ffn.kind == FfnKind::moe) {
    validate_pattern(rules);
    validate_experts(rules);
    validate_groups(rules);
    validate_router(rules);
    validate_skip(rules);
    validate_routing(rules);
  } else {
    rules.expect_unused("model.ffn.moe", "model.ffn.kind");
  }
  if (model.ffn.d_ff == 0 && has_layer(model, FfnKind::dense)) {
    rules.fail("model.ffn.d_ff", "must be at least 1 when a layer is dense (" +
                                     rules.quote("model.ffn.kind") + ", " +
                                     rules.quote("model.ffn.moe.first_dense") + ")");
  }
}

}  // namespace strait::config
