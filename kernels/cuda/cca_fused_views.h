#pragma once

#include <algorithm>

#include "kernels/cuda/cca_fused_fwd.cuh"
#include "kernels/cuda/cca_views.h"

// Host side of the fused path, forward and backward.
namespace strait::kernels::cuda::cca {

/// What both directions ask of an op. `query` is q or dq, `unit` that of its values.
template <class Op>
bool fused_covers(const Op& op, const ConstTensor& query, bool others_aligned, std::int64_t unit) {
  return op.z.dtype == DType::bf16 && query.shape[2] == kHead && op.switches.convs == 2 &&
         op.w0.shape[0] == 2 && op.w1.shape[1] == 2 * kHead && !op.rope.interleaved &&
         (op.rope.dims == kHead || op.rope.dims == kHead / 2 || op.rope.dims == 0) && unit == 16 &&
         others_aligned && all_aligned(op.z, op.halo_z, op.w0, op.b0, op.w1, op.b1) &&
         Context::current().hopper();
}

/// Blocks of each head when every multiprocessor holds one; none without a tile.
inline unsigned parts_of(int heads, int tiles) {
  const auto blocks = static_cast<int>(Context::current().multiprocessors());
  return static_cast<unsigned>(std::clamp(blocks / heads, 1, tiles));
}

/// Tiles of all chunks that cover `before` rows ahead of each chunk and the chunk's own.
inline int fused_tiles(const Inputs<bf16>& in, int before) {
  return static_cast<int>(blocks_for(before + in.chunk_rows, kTile)) * in.chunks;
}

template <class T, class Pointer>
HeadPair<T> head_pair(const BasicTensor<Pointer>& query, const BasicTensor<Pointer>& key) {
  return {.query = static_cast<T*>(query.data),
          .key = static_cast<T*>(key.data),
          .query_token = query.stride[0],
          .query_head = query.stride[1],
          .key_token = key.stride[0],
          .key_head = key.stride[1]};
}

/// Returns how many parts there are sums of.
template <bool kUndo>
unsigned launch_forward(const Call& call, const Inputs<bf16>& in, const ForwardArgs& args,
                        const Rope& rope) {
  const unsigned parts = parts_of(in.heads, fused_tiles(in, 0));
  const Grid grid{dim3(static_cast<unsigned>(in.heads), parts), kFusedThreads,
                  sizeof(ForwardShared)};
  static_assert(sizeof(ForwardShared) <= 227 << 10, "the shared memory of a block");
  const auto kernel = rope.dims == kHead       ? fused_forward<kStrips / 2, kUndo>
                      : rope.dims == kHead / 2 ? fused_forward<kStrips / 4, kUndo>
                                               : fused_forward<0, kUndo>;
  launch_kernel(call, grid, kernel, in, args, make_rope_table(rope));
  return parts;
}

}  // namespace strait::kernels::cuda::cca
