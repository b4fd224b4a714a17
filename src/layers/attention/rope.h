#pragma once

#include "kernels/qk_norm_rope.h"
#include "layers/layer.h"

namespace strait::layers {

/// Rotation of the first config::rope_dims() channels of a head, by the layer's theta.
kernels::Rope make_rope(const Build& build);

}  // namespace strait::layers
