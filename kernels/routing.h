#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"
#include "kernels/wide_linear.h"

// Mixture-of-experts routing: scores, selection, balance.
// Dims: T tokens, E experts, K chosen per token, R sequences. Where ranks share sequences out, the
// tokens at hand are pieces of them: `sequence` says which, -1 for padding that nothing counts, and
// `length` is the tokens of a whole sequence. Without `sequence` the rows are R whole ones.
// A token's place is how many tokens of its sequence are before it.
namespace strait::kernels {

enum class RouterScore : std::uint8_t { softmax, sigmoid };

/// How experts are chosen and weighted. DeepSeek-V3 (arXiv 2412.19437): sigmoid, groups, scale.
struct RouterRule {
  RouterScore score = RouterScore::softmax;
  bool renormalise = false;     // weights divided by (their sum + 1e-20)
  std::int64_t groups = 1;      // experts form this many equal groups; 1: no grouping
  std::int64_t top_groups = 1;  // groups kept; a group's score is the sum of its two best choices
  double scale = 1.0;           // multiplies the weights at the end
  std::int64_t forced = 0;  // > 0: whatever its scores, the token at place s of its sequence takes
                            // experts (s K + k) % forced
};

/// scores = softmax or sigmoid of logits; choice = scores + bias (selection only); the K best of
/// the kept groups, ties to the lower expert; weight = scores gathered, renormalised and scaled by
/// rule. Experts of a token are listed in descending order of choice.
struct RouteFwd {
  static constexpr const char* kName = "RouteFwd";
  ConstTensor logits;          // [T, E] stat dtype
  ConstTensor bias = {};       // [E] stat dtype, or absent
  Tensor scores;               // [T, E] stat dtype, kept for RouteBwd
  Tensor expert;               // [T, K] i32
  Tensor weight;               // [T, K] stat dtype
  Tensor counts;               // [E] i64, accumulated: choices that fell on each expert
  ConstTensor sequence = {};   // [T] i32
  ConstTensor place = {};      // [T] i32, >= 0 in padding too; for rule.forced, else not read
  std::int64_t length = 0;     // needed with rule.forced, unless `place` is there
  WideLinearFwd product = {};  // makes the logits, its y, first; or absent (without x)
  RouterRule rule;
};

/// f_e of each sequence: the share of its choices that fell on e. Of a sequence that ranks share
/// out this rank's term, to be summed over them.
struct RouteFraction {
  static constexpr const char* kName = "RouteFraction";
  ConstTensor expert;         // [T, K] i32
  ConstTensor sequence = {};  // [T] i32
  Tensor fraction;            // [R, E] stat dtype, assigned; kept for RouteBwd
  std::int64_t length = 0;    // needed with `sequence`
};

/// Switch-style balance loss per sequence and z-loss, from the same scores:
/// aux = sum over sequences of E * sum_e f_e P_e, f_e = count_e / (K S), P_e = mean score, scores
/// of a token normalised to sum 1 first; 1 when balanced. z = sum over tokens of
/// logsumexp(logits)^2. Both are sums; the caller's coefficients in RouteBwd divide by global
/// counts.
struct RouteLosses {
  static constexpr const char* kName = "RouteLosses";
  ConstTensor logits;         // [T, E]
  ConstTensor scores;         // [T, E]
  ConstTensor fraction;       // [R, E] stat dtype, of whole sequences
  ConstTensor sequence = {};  // [T] i32
  Tensor aux;                 // [1] f64, accumulated
  Tensor z;                   // [1] f64, accumulated
  std::int64_t length = 0;    // needed with `sequence`
};

/// dlogits from dweight, plus aux_coef * d(aux)/dlogits and z_coef * d(z)/dlogits.
/// The selection itself has no gradient.
struct RouteBwd {
  static constexpr const char* kName = "RouteBwd";
  ConstTensor dweight;        // [T, K] stat dtype
  ConstTensor logits;         // [T, E]
  ConstTensor scores;         // [T, E]
  ConstTensor expert;         // [T, K] i32
  ConstTensor fraction = {};  // [R, E]; needed when aux_coef != 0
  ConstTensor sequence = {};  // [T] i32
  Tensor dlogits;             // [T, E] stat dtype, assigned
  ConstTensor row_of = {};    // [T, 1] i32 (permute.h), needed with `parts`; K = 1
  Tensor parts = {};          // [T, P E] compute dtype, or absent: dlogits by sorted rows, in the
                              // parts of WideLinearFwd's beside one another: hi, hi, hi, lo
  std::int64_t length = 0;    // needed with `sequence`
  RouterRule rule;
  double aux_coef = 0;
  double z_coef = 0;
  ConstTensor z_scale = {};  // [1] f64 on the device, multiplies z_coef; absent: 1
};

/// bias += rate * sign(mean(counts) - counts), the loss-free rule (arXiv 2408.15664).
struct RouterBiasUpdate {
  static constexpr const char* kName = "RouterBiasUpdate";
  ConstTensor counts;  // [E] i64 of a whole optimizer step, summed over data ranks
  Tensor bias;         // [E]
  double rate = 1e-3;
};

/// ZAYA1's rule (arXiv 2605.05365): AdamW without decay moves the bias against the gradient
/// counts / total - 1 / E. Nothing moves where total is 0.
struct RouterBiasAdamW {
  static constexpr const char* kName = "RouterBiasAdamW";
  ConstTensor counts;  // [E] i64, as RouterBiasUpdate
  Tensor bias;         // [E]
  Tensor m, v;         // [E] dtype of bias: means of the gradient and its square
  Tensor steps;        // [1] dtype of bias: updates so far, counted on
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
};

void check(const RouteFwd& op);
void check(const RouteFraction& op);
void check(const RouteLosses& op);
void check(const RouteBwd& op);
void check(const RouterBiasUpdate& op);
void check(const RouterBiasAdamW& op);
Work work(const RouteFwd& op);
Work work(const RouteFraction& op);
Work work(const RouteLosses& op);
Work work(const RouteBwd& op);
Work work(const RouterBiasUpdate& op);
Work work(const RouterBiasAdamW& op);

}  // namespace strait::kernels
