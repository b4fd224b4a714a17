#pragma once

#include "layers/attention/factory.h"
#include "tests/layers/layer_check.h"
#include "tests/layers/small_models.h"

namespace strait::test {

/// Two sequences of eight tokens; documents of one token in the middle and at the end.
inline const Documents kPacked = {{3, 1, 4}, {5, 2, 1}};

/// Gradient check of the attention layer that `model` names.
inline void check_attention(const config::Model& model, const Documents& documents = kPacked) {
  check_layer(model, documents,
              [](const layers::Build& build) { return layers::make_attention(build, "attn"); });
}

}  // namespace strait::test
