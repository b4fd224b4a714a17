#pragma once

#include "core/tensor.h"
#include "parallel/sequence_shard.h"

namespace strait::parallel {

/// Weights of CCA's mix on this rank; what is switched off is undefined.
struct MixWeights {
  ConstTensor w0 = {};       // [n0, (H + G) d]
  ConstTensor w1 = {};       // [H + G, n1 d, d]
  ConstTensor temp = {};     // [G]
  bool exponential = false;  // tau = exp(temp), else temp itself
};

/// Looks at what attention layers compute, where Ctx::probe is set: while a run is measured, never
/// in a training step. Tensors live during the call, and what fills them may still be under way on
/// the stream.
class Probe {
 public:
  virtual ~Probe() = default;
  /// Queries q [T, H, dk] and keys k [rows, G, dk], of which row t sees those within `spans`; once
  /// for each block of keys. Scores are scaled by `scale`.
  virtual void scores(std::int64_t layer, ConstTensor q, ConstTensor k, const Spans& spans,
                      double scale) = 0;
  /// Values v [T, G, dv] of this rank's tokens, and what attention made of all of them,
  /// o [T, H, dv].
  virtual void values(std::int64_t layer, ConstTensor v, ConstTensor o) = 0;
  virtual void mix(std::int64_t layer, const MixWeights& weights) = 0;
};

}  // namespace strait::parallel
