#include "kernels/cuda/cca_fused_bwd.cuh"

#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_fused_views.h"
#include "kernels/cuda/cca_fused_weights.cuh"

namespace strait::kernels::cuda::cca {
namespace {

/// Blocks of a head in the three kernels that follow each other, in proportion to the time that
/// they were measured to need, which grows with the group in the first two. With many blocks to a
/// head they run side by side; with few the first has the device to itself. Few tiles are not dealt
/// in proportion: then what counts is how many the first works on one after the other.
struct Shares {
  unsigned undo, back, correlate;
  bool beside;

  Shares(const Inputs<bf16>& in, unsigned tiles) {
    constexpr unsigned kUndo = 6, kFewest = 12;
    const bool alone = in.group_size() == 1;
    const unsigned for_back = alone ? 5 : 4, for_correlate = alone ? 5 : 3;
    const unsigned all = std::max(Context::current().multiprocessors() / in.heads, 1u);
    beside = all >= kFewest;
    if (beside) {
      const bool few_tiles = tiles <= all;
      const unsigned shares = few_tiles ? 4 : kUndo + for_back + for_correlate;
      back = all * (few_tiles ? 1 : for_back) / shares;
      correlate = all * (few_tiles ? 1 : for_correlate) / shares;
      undo = all - back - correlate;
    } else {
      const unsigned shares = for_back + for_correlate;
      back = blocks_for(all * for_back, shares);
      correlate = blocks_for(all * for_correlate, shares);
      undo = all;
    }
  }
};

/// Blocks of query and key heads in each of them.
struct Parts {
  HeadBlocks undo, back, correlate;

  explicit Parts(const Inputs<bf16>& in) {
    const int tiles = TileCut(in, 0).count;
    const Shares shares(in, static_cast<unsigned>(tiles));
    const auto alike = [&](unsigned blocks) {
      const int each = std::min(static_cast<int>(blocks), tiles);
      return HeadBlocks{each, each};
    };
    const auto deal = [&](unsigned blocks, double other) {
      return deal_blocks(in, blocks * static_cast<unsigned>(in.heads), tiles, other);
    };
    undo = shares.beside ? deal(shares.undo, kOtherForward) : alike(shares.undo);
    back = shares.beside ? deal(shares.back, kOtherBackward) : alike(shares.back);
    correlate = alike(shares.correlate);
  }
};

/// du of every head, [T, heads, d], and the partial sums, in the workspace.
struct Workspace {
  Workspace(const Call& call, const Inputs<bf16>& in, const Parts& parts) {
    const PartialLayout layout(in.heads);
    Layout pieces;
    const std::size_t du_at =
        pieces.take(static_cast<std::size_t>(in.tokens) * in.heads * kHead * sizeof(bf16));
    const std::size_t sums_at =
        pieces.take(static_cast<std::size_t>(parts.correlate.query) * layout.size * sizeof(float));
    const std::size_t dtemp_at =
        pieces.take(static_cast<std::size_t>(parts.undo.key) * in.groups * sizeof(float));
    void* base = Context::current().workspace(call.stream, pieces.bytes());
    du = {at<bf16>(base, du_at), DType::bf16, {in.tokens, in.heads, kHead}};
    sums = at<float>(base, sums_at);
    dtemp = at<float>(base, dtemp_at);
    done = {static_cast<int*>(Context::current().zeros(call.stream)), parts.undo};
  }

  ConstTensor du;
  float *sums, *dtemp;
  Progress done;
};

void output_gradients(const CcaMixBwd& op, const Call& call, const Inputs<bf16>& in,
                      const Workspace& space, const HeadBlocks& blocks) {
  const ConstTensor queries = space.du.slice(1, 0, in.query_heads);
  const ConstTensor keys = space.du.slice(1, in.query_heads, in.groups);
  const auto values = value_args(op.dv, op.dv_cur, op.dv_del, op.dhalo_v, op.doc_pos, op.chunk, 16);
  launch_forward<true>(
      call, in,
      {.z = heads_map(op.z.split_last(in.heads, kHead), op.chunk, kBoxRows),
       .out = {heads_map(queries, op.chunk, kTile), heads_map(keys, op.chunk, kTile)},
       .dout = {heads_map(op.dq, op.chunk, kBoxRows), heads_map(op.dk, op.chunk, kBoxRows)},
       .dtemp = space.dtemp,
       .done = space.done,
       .blocks = blocks,
       .values = values},
      op.rope);
}

void input_gradients(const CcaMixBwd& op, const Call& call, const Inputs<bf16>& in,
                     const Workspace& space, const HeadBlocks& blocks) {
  const BackwardArgs args{.du = heads_map(space.du, op.chunk, kBoxRows),
                          .dz = heads_map(op.dz.split_last(in.heads, kHead), op.chunk, kTile),
                          .dz_rows = mix_rows<bf16>(op.dz, op.dhalo_z, op.chunk),
                          .done = space.done,
                          .blocks = blocks};
  const Grid grid{static_cast<unsigned>(blocks.total(in)), kFusedThreads, sizeof(BackwardShared)};
  static_assert(sizeof(BackwardShared) <= sm90::kSharedLimit);
  launch_overlapping(call, grid, fused_backward, in, args);
}

void weight_gradients(const CcaMixBwd& op, const Call& call, const Inputs<bf16>& in,
                      const Workspace& space, const Parts& parts) {
  const auto heads = static_cast<unsigned>(in.heads);
  const CorrelationArgs args{.z = heads_map(op.z.split_last(in.heads, kHead), op.chunk, kBoxRows),
                             .du = heads_map(space.du, op.chunk, kBoxRows),
                             .partials = space.sums,
                             .done = space.done,
                             .blocks = parts.correlate};
  const Grid grid{static_cast<unsigned>(parts.correlate.total(in)), kCorrelateThreads,
                  sizeof(CorrelationShared)};
  static_assert(sizeof(CorrelationShared) <= sm90::kSharedLimit);
  launch_overlapping(call, grid, correlate, in, args);
  const WeightTargets targets{.dw0 = op.dw0.as<float>(),
                              .db0 = op.db0.as<float>(),
                              .dw1 = op.dw1.as<float>(),
                              .db1 = op.db1.as<float>(),
                              .dtemp = op.dtemp.as<float>()};
  launch_overlapping(call, {dim3(kHead, heads), kHead}, finish_weights, in, targets, space.sums,
                     parts.correlate.query, space.dtemp, space.done);
}

}  // namespace

bool fused_covers(const CcaMixBwd& op) {
  const std::int64_t unit = value_unit(op.dv, op.dv_cur, op.dv_del, op.dhalo_v);
  return fused_covers(op, all_aligned(op.dq, op.dk, op.dz, op.dhalo_z), unit);
}

void run_fused(const CcaMixBwd& op, const Call& call) {
  const auto in = inputs<bf16>(op, op.dq, op.dk, true);
  const Parts parts(in);
  const Workspace space(call, in, parts);
  output_gradients(op, call, in, space, parts.undo);
  input_gradients(op, call, in, space, parts.back);
  weight_gradients(op, call, in, space, parts);
}

}  // namespace strait::kernels::cuda::cca
