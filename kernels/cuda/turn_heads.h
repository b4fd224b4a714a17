#pragma once

#include "kernels/qk_norm_rope.h"
#include "kernels/stream.h"

namespace strait::kernels::cuda {

/// The backward of a rotation without norm: the forward with angles negated.
void turn_heads_back(const QkNormRopeBwd& op, const Stream& stream);

}  // namespace strait::kernels::cuda
