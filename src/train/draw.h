#pragma once

#include <cstdint>
#include <vector>

namespace strait::train {

/// How the next token is chosen from its logits: the top_k likeliest, of these the fewest that hold
/// top_p of the probability (at least one), of these one by its probability.
struct DrawRule {
  double temperature = 0.8;  // divides the logits; 0: the likeliest token
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;        // 1: all
};

/// Token drawn with the uniform number u in [0, 1). Ties go to the lower token.
std::int32_t draw(const std::vector<double>& logits, const DrawRule& rule, double u);

}  // namespace strait::train
