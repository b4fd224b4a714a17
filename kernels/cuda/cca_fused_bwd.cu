#include "kernels/cuda/cca_fused_bwd.cuh"

#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_fused_views.h"
#include "kernels/cuda/cca_fused_weights.cuh"

namespace strait::kernels::cuda::cca {
namespace {

/// du of every head, [T, heads d], and the partial sums, in the workspace.
struct Workspace {
  Workspace(const Call& call, const Inputs<bf16>& in, unsigned parts) {
    const PartialLayout layout(in.heads);
    Layout pieces;
    const std::size_t du_at =
        pieces.take(static_cast<std::size_t>(in.tokens) * in.heads * kHead * sizeof(bf16));
    const std::size_t sums_at = pieces.take(parts * layout.size * sizeof(float));
    const std::size_t dtemp_at = pieces.take(parts * in.groups * sizeof(float));
    void* base = Context::current().workspace(call.stream, pieces.bytes());
    du = at<bf16>(base, du_at);
    sums = at<float>(base, sums_at);
    dtemp = at<float>(base, dtemp_at);
  }

  bf16* du;
  float *sums, *dtemp;
};

void input_gradients(const CcaMixBwd& op, const Call& call, const Inputs<bf16>& in,
                     const Workspace& space) {
  BackwardArgs args{
      .du = space.du,
      .dz = mix_rows<bf16>(op.dz, op.dhalo_z, op.chunk),
      .values = value_args(op.dv, op.dv_cur, op.dv_del, op.dhalo_v, op.doc_pos, op.chunk, 16),
      .value_share = 0};
  args.value_share = value_share(args.values, in.heads);
  const unsigned parts = parts_of(in.heads, fused_tiles(in, in.halo_rows));
  const Grid grid{dim3(static_cast<unsigned>(in.heads), parts), kFusedThreads,
                  sizeof(BackwardShared)};
  static_assert(sizeof(BackwardShared) <= 227 << 10, "the shared memory of a block");
  launch_kernel(call, grid, fused_backward, in, args);
}

void weight_gradients(const CcaMixBwd& op, const Call& call, const Inputs<bf16>& in,
                      const Workspace& space, unsigned parts) {
  const auto heads = static_cast<unsigned>(in.heads);
  const Grid grid{dim3(heads, parts), kCorrelateThreads, sizeof(CorrelationShared)};
  launch_kernel(call, grid, correlate, in, space.du, space.sums);
  const WeightTargets targets{.dw0 = op.dw0.as<float>(),
                              .db0 = op.db0.as<float>(),
                              .dw1 = op.dw1.as<float>(),
                              .db1 = op.db1.as<float>(),
                              .dtemp = op.dtemp.as<float>()};
  launch_kernel(call, {dim3(kHead, heads), kHead}, finish_weights, in, targets, space.sums,
                space.dtemp, static_cast<int>(parts));
}

}  // namespace

bool fused_covers(const CcaMixBwd& op) {
  const std::int64_t unit = value_unit(op.dv, op.dv_cur, op.dv_del, op.dhalo_v);
  return fused_covers(op, op.dq, all_aligned(op.dq, op.dk, op.dz, op.dhalo_z), unit);
}

void run_fused(const CcaMixBwd& op, const Call& call) {
  const auto in = inputs<bf16>(op, op.dq, op.dk, true);
  const unsigned parts = parts_of(in.heads, fused_tiles(in, 0));
  const Workspace space(call, in, parts);
  const std::int64_t token = in.heads * kHead, keys = in.query_heads * kHead;
  const HeadPair<bf16> du{space.du, space.du + keys, token, kHead, token, kHead};
  launch_forward<true>(call, in,
                       {.out = du,
                        .dout = head_pair<const bf16>(op.dq, op.dk),
                        .dtemp = space.dtemp,
                        .values = {},
                        .value_share = 0},
                       op.rope);
  input_gradients(op, call, in, space);
  weight_gradients(op, call, in, space, parts);
}

}  // namespace strait::kernels::cuda::cca
