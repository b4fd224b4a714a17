#pragma once

#include "core/param_table.h"
#include "parallel/mesh.h"

namespace strait::parallel {

/// Sums every gradient over the axes its parameter names, in rank order. Neighbours in the table
/// with the same axes travel as one message.
void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream);

}  // namespace strait::parallel
