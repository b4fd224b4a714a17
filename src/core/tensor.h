#pragma once

#include "kernels/check.h"
#include "kernels/launch.h"
#include "kernels/memory.h"
#include "kernels/tensor.h"

// The names of the kernel boundary that all of src/ speaks.
namespace strait {

using kernels::ConstTensor;
using kernels::Device;
using kernels::DType;
using kernels::Stream;
using kernels::Tensor;

}  // namespace strait
