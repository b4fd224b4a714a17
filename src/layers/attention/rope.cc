#include "layers/attention/rope.h"

#include <cmath>

namespace strait::layers {

kernels::Rope make_rope(const Build& build, std::int64_t width) {
  const config::Attention& attention = build.model.attention;
  const config::Rope& rope = attention.rope;
  return {.theta = build.slides() ? attention.sliding.theta : rope.theta,
          .dims = std::llround(rope.fraction * static_cast<double>(width)),
          .interleaved = rope.interleaved};
}

}  // namespace strait::layers
