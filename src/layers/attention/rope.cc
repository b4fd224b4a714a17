#include "layers/attention/rope.h"

#include <cmath>

namespace strait::layers {

kernels::Rope make_rope(const config::Attention& attention, std::int64_t width) {
  const config::Rope& rope = attention.rope;
  return {.theta = rope.theta,
          .dims = std::llround(rope.fraction * static_cast<double>(width)),
          .interleaved = rope.interleaved};
}

}  // namespace strait::layers
