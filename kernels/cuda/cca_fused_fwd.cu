#include "kernels/cuda/cca_fused_fwd.cuh"

#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_fused_views.h"

namespace strait::kernels::cuda::cca {

bool fused_covers(const CcaMixFwd& op) {
  const std::int64_t unit = value_unit(op.v, op.v_cur, op.v_del, op.halo_v);
  return fused_covers(op, op.q, all_aligned(op.q, op.k), unit);
}

void run_fused(const CcaMixFwd& op, const Call& call) {
  const auto in = inputs<bf16>(op, op.q, op.k, true);
  ForwardArgs args{
      .out = head_pair<bf16>(op.q, op.k),
      .dout = {},
      .dtemp = nullptr,
      .values = value_args(op.v, op.v_cur, op.v_del, op.halo_v, op.doc_pos, op.chunk, 16),
      .value_share = 0};
  args.value_share = value_share(args.values, in.heads);
  launch_forward<false>(call, in, args, op.rope);
}

}  // namespace strait::kernels::cuda::cca
