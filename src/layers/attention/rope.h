#pragma once

#include "config/config.h"
#include "kernels/qk_norm_rope.h"

namespace strait::layers {

/// Rotation of heads of `width` channels: the first fraction * width of them.
kernels::Rope make_rope(const config::Attention& attention, std::int64_t width);

}  // namespace strait::layers
