#pragma once

#include <algorithm>

#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/cca_fused_fwd.cuh"
#include "kernels/cuda/cca_views.h"
#include "kernels/hopper.h"

// Host side of the fused path, forward and backward.
namespace strait::kernels::cuda::cca {

/// What both directions ask of an op. `unit` is that of its values.
template <class Op>
bool fused_covers(const Op& op, bool others_aligned, std::int64_t unit) {
  static_assert(kHead == kFusedMixHead);
  return has_hopper_kernel(op) && unit == 16 && others_aligned &&
         all_aligned(op.z, op.halo_z, op.w0, op.b0, op.w1, op.b1) && Context::current().hopper();
}

/// Map of x [T, heads, kHead] in chunks of rows, for boxes of `box_rows` rows of a head.
inline CUtensorMap heads_map(const ConstTensor& x, std::int64_t chunk_rows, int box_rows) {
  sm90::TensorLayout layout = layout_of(x);
  // Strides that lead nowhere need not be aligned, but TMA asks.
  if (layout.rows == 1) layout.row_stride = kHead;
  if (layout.heads == 1) layout.head_stride = kHead;
  return sm90::make_chunked_map(layout, chunk_rows, box_rows);
}

/// Deals at most `all` blocks, but one a head, to the heads so that those of query and of key heads
/// end together. A key head reads its whole group: each head more takes `other` of a tile's time.
inline HeadBlocks deal_blocks(const Inputs<bf16>& in, unsigned all, int tiles, double other) {
  const double key_tile = in.qk_mean ? 1 + other * (in.group_size() - 1) : 1;
  const int blocks = static_cast<int>(all);
  HeadBlocks best{1, 1};
  double least = key_tile * tiles;
  for (int query = 1; query <= tiles && query * in.query_heads + in.groups <= blocks; ++query) {
    const int key = std::min((blocks - query * in.query_heads) / in.groups, tiles);
    const double time = std::max(static_cast<double>(ceil_div(tiles, query)),
                                 key_tile * static_cast<double>(ceil_div(tiles, key)));
    if (time < least) {
      least = time;
      best = {query, key};
    }
  }
  return best;
}

/// What another head of a group takes of a tile's time, forward and back to du, and from du to dz.
inline constexpr double kOtherForward = 1.0 / 12, kOtherBackward = 1.0 / 8;

template <bool kUndo>
void launch_forward(const Call& call, const Inputs<bf16>& in, const ForwardArgs& args,
                    const Rope& rope) {
  const Grid grid{static_cast<unsigned>(args.blocks.total(in)), kFusedThreads,
                  sizeof(ForwardShared)};
  static_assert(sizeof(ForwardShared) <= sm90::kSharedLimit);
  const auto kernel = rope.dims == kHead       ? fused_forward<kStrips / 2, kUndo>
                      : rope.dims == kHead / 2 ? fused_forward<kStrips / 4, kUndo>
                                               : fused_forward<0, kUndo>;
  if (kUndo) return launch_kernel(call, grid, kernel, in, args, make_rope_table(rope));
  launch_overlapping(call, grid, kernel, in, args, make_rope_table(rope));
}

}  // namespace strait::kernels::cuda::cca
