#pragma once

#include "kernels/qk_norm_rope.h"
#include "layers/layer.h"

namespace strait::layers {

/// Rotation of heads of `width` channels: the first fraction * width of them, by the layer's theta.
kernels::Rope make_rope(const Build& build, std::int64_t width);

}  // namespace strait::layers
