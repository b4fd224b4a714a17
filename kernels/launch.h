#pragma once

#include "kernels/stream.h"

namespace strait::kernels {

/// The only way to run an op: check(op), then the backend of `stream.device`. Enqueues on cuda and
/// never synchronises the host; returns when done on cpu; does no arithmetic on plan.
/// Throws OpError when the op is malformed or the backend does not support it.
/// Defined for every op struct of kernels/*.h (explicit instantiations in launch.cc).
template <class Op>
void launch(const Op& op, const Stream& stream);

}  // namespace strait::kernels
