#pragma once

#include <vector>

#include "core/arena.h"
#include "core/tensor.h"

// What decoding keeps of the text it has read, so that each new token is read once.
namespace strait::parallel {

/// Of one attention layer. Rows are tokens from the start of the text; which tensors there are is
/// the layer's choice.
struct LayerCache {
  Tensor k, v;    // [capacity, G, dk], [capacity, G, dv]
  Tensor latent;  // [capacity, ckv + r] of MLA, before norm and rotation: instead of k and v
  Tensor z;       // [1, columns, channels] of CCA: inputs of the convolutions, oldest first
  Tensor v_del;   // [1, channels] of CCA: the last token's delayed values
};

/// One text. Owned by the decoder, seen by layers through Ctx.
struct DecodeCache {
  core::Arena memory{"decode cache"};
  std::vector<LayerCache> layers;
  std::int64_t capacity = 0;  // tokens
  std::int64_t past = 0;      // tokens read before the ones in Ctx::tokens
  Tensor positions;           // [capacity] i32 rope positions of all tokens

  /// Of one layer; it takes its tensors from `memory` when they are not there yet.
  LayerCache& of(std::int64_t layer) {
    const auto at = static_cast<std::size_t>(layer);
    if (layers.size() <= at) layers.resize(at + 1);
    return layers[at];
  }
};

}  // namespace strait::parallel
