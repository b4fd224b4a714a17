#include "layers/attention/rope.h"

namespace strait::layers {

kernels::Rope make_rope(const Build& build) {
  const config::Attention& attention = build.model.attention;
  const config::Rope& rope = attention.rope;
  return {.theta = build.slides() ? attention.sliding.theta : rope.theta,
          .dims = config::rope_dims(attention),
          .interleaved = rope.interleaved};
}

}  // namespace strait::layers
