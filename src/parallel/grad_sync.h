#pragma once

#include "core/param_table.h"
#include "parallel/mesh.h"

namespace strait::parallel {

/// Sums every gradient over the axes its parameter names, in rank order; the result is at the rank
/// that owns the parameter's states, elsewhere gradients are undefined afterwards.
void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream);

/// Hands every rank the weights that their owners moved.
void share_weights(core::ParamTable& table, Groups& groups, const Stream& stream);

}  // namespace strait::parallel
