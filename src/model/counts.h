#pragma once

#include <string>
#include <vector>

#include "config/config.h"

// Parameters, FLOPs and cache of a resolved model by formula. FLOPs are 2 per multiply-add, of
// matrix products, convolutions and attention scores; a causal query sees half its document.
namespace strait::model {

/// One part of the model, all layers together.
struct PartCount {
  std::string part;  // "attention projections", "experts", ...
  std::int64_t parameters = 0;
  std::int64_t active = 0;     // parameters a token uses
  double flops_per_token = 0;  // forward, attention core apart
};

struct ModelCounts {
  std::vector<PartCount> parts;
  double core_flops_per_pair = 0;    // forward, per (query, key) pair, over all layers and heads
  std::int64_t cache_per_token = 0;  // key/value cache elements per token, over all layers

  std::int64_t parameters() const;
  std::int64_t active() const;
  double flops_per_token() const;  // forward, attention core apart
  /// Forward FLOPs of `tokens` tokens that see `pairs` keys in all.
  double forward_flops(double tokens, double pairs) const;
};

ModelCounts count_model(const config::Model& model);

/// Keys seen by the token at position `doc_pos` of its document of length `doc_len`, the diagonal
/// counted half (so that a causal document of length n has n^2 / 2 pairs); the mean over layers.
double pairs_of(const config::Model& model, double doc_pos, double doc_len);

/// Pairs of one whole document of `length` tokens.
double document_pairs(const config::Model& model, std::int64_t length);

}  // namespace strait::model
