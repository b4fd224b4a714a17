#pragma once

#include <vector>

#include "core/tensor.h"

namespace strait::train {

/// The elements of x (f64, f32, bf16 or i32; any strides) in row-major order, on the host. Waits
/// for the stream.
std::vector<double> to_doubles(ConstTensor x, const Stream& stream);

/// Rows `rows` of x (its first dim), one after another.
std::vector<double> to_doubles(ConstTensor x, const std::vector<std::int64_t>& rows,
                               const Stream& stream);

}  // namespace strait::train
