#include "kernels/cuda/cca_fused_fwd.cuh"

#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_fused_views.h"

namespace strait::kernels::cuda::cca {

bool fused_covers(const CcaMixFwd& op) {
  const std::int64_t unit = value_unit(op.v, op.v_cur, op.v_del, op.halo_v);
  return fused_covers(op, all_aligned(op.q, op.k), unit);
}

void run_fused(const CcaMixFwd& op, const Call& call) {
  const auto in = inputs<bf16>(op, op.q, op.k, true);
  const unsigned blocks = Context::current().multiprocessors();
  const ForwardArgs args{
      .z = heads_map(op.z.split_last(in.heads, kHead), op.chunk, kBoxRows),
      .out = {heads_map(op.q, op.chunk, kTile), heads_map(op.k, op.chunk, kTile)},
      .dout = {},
      .dtemp = nullptr,
      .done = {},
      .blocks = deal_blocks(in, blocks, TileCut(in, 0).count, kOtherForward),
      .values = value_args(op.v, op.v_cur, op.v_del, op.halo_v, op.doc_pos, op.chunk, 16)};
  launch_forward<false>(call, in, args, op.rope);
}

}  // namespace strait::kernels::cuda::cca
