#pragma once

#include <vector>

#include "input/loader.h"
#include "train/engine.h"

namespace strait::train {

/// What tells of an attention layer's health. Fields of parts that the layer lacks stay empty or
/// NaN.
struct LayerStability {
  double max_logit;  // largest scaled score that a measured query gives a key it sees
  double rank_v;     // effective rank of values, all heads side by side, see effective_rank()
  double rank_out;   // of the attention's output before its projection
  double tau_min, tau_mean, tau_max;  // key temperatures
  // Root of the mean square weight that a channel gets from each tap, oldest first: of the
  // depthwise convolution, sqrt(mean_c w0[i, c]^2), and of the one per head, sqrt(sum W1[., j]^2 /
  // channels).
  std::vector<double> conv0_taps, conv1_taps;
};

struct Stability {
  std::int64_t tokens = 0;  // measured
  std::vector<LayerStability> layers;
};

/// Tokens that are measured at most, evenly spread over the sequences that are run; no effective
/// rank is above their number.
inline constexpr std::int64_t kMeasuredTokens = 256;

/// Runs the tokens that are loaded (ctx.tokens) forward and measures every attention layer, tokens
/// without a label left out. Collective: with context and tensor ranks the numbers are those of the
/// whole model, but for the choice of tokens where there are more than kMeasuredTokens.
/// Precondition: no step is under way.
Stability measure_stability(Engine& engine);

/// The same of the first sequences of `loader`, the same on every data rank: a micro-batch, but no
/// more than 4,096 tokens beyond the first sequence.
Stability measure_stability(Engine& engine, const input::EvalLoader& loader);

}  // namespace strait::train
