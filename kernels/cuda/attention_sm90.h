#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sm90/tensor_map.h"

// Attention through the Hopper kernels of sm90/.
namespace strait::kernels::cuda {

/// Whether the Hopper kernels run this op: the device and the build, bf16, their head dims, rows
/// that TMA can address, a positive scale. All else takes the portable path.
bool takes_hopper(const AttentionFwd& op);
bool takes_hopper(const AttentionBwd& op);

/// Precondition: takes_hopper(op).
void attend_hopper(const AttentionFwd& op, const Call& call);
void differentiate_hopper(const AttentionBwd& op, const Call& call);

/// Of a [rows, heads, width] tensor in bf16.
inline sm90::TensorLayout layout_of(const ConstTensor& x) {
  return {x.data, x.shape[0], x.shape[1], x.shape[2], x.stride[0], x.stride[1]};
}

}  // namespace strait::kernels::cuda
