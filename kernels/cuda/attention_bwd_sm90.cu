#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/sm90/attention_bwd.cuh"
#include "kernels/hopper.h"

namespace strait::kernels::cuda {
namespace {

using namespace sm90;

/// Calls body(BackwardTile<...>{}) for the tile of these head dims, one of kAttentionTiles.
template <class Body>
void with_tile(std::int64_t key_width, std::int64_t value_width, Body&& body) {
  const auto are = [&](int key, int value) { return key_width == key && value_width == value; };
  if (are(64, 64)) return body(BackwardTile<64, 64, 128, 3, 4>{});
  if (are(128, 128)) return body(BackwardTile<128, 128, 64, 4, 1>{});
  if (are(192, 128)) return body(BackwardTile<192, 128, 64, 0, 1>{});
  if (are(256, 256)) return body(BackwardTile<256, 256, 64, 0, 1>{});
  throw OpError("AttentionBwd: heads of kAttentionTiles without a tile here");
}

template <class T>
RowPackets packets_of(const BasicTensor<T>& x) {
  return {static_cast<__nv_bfloat16*>(const_cast<void*>(static_cast<const void*>(x.data))),
          x.stride[0], x.stride[1]};
}

/// Everything but the pieces of the workspace.
template <class Tile>
BackwardParams<Tile> parameters(const AttentionBwd& op) {
  const auto heads = static_cast<int>(op.q.shape[1]), groups = static_cast<int>(op.k.shape[1]);
  const auto tiles = static_cast<int>(blocks_for(op.q.shape[0], Tile::kQueries));
  const auto blocks = static_cast<int>(blocks_for(op.k.shape[0], Tile::kKeys));
  const auto grid = static_cast<int>(Context::current().multiprocessors());
  const auto rows = static_cast<int>(op.q.shape[0]);
  const int width = (Tile::kKeyWidth + Tile::kValueWidth) / 2;
  return {.q = make_map(layout_of(op.q), Tile::kQueries),
          .dout = make_map(layout_of(op.dout), Tile::kQueries),
          .k = make_map(layout_of(op.k), Tile::kKeys),
          .v = make_map(layout_of(op.v), Tile::kKeys),
          .dk = make_map(layout_of(op.dk), Tile::kGroupKeys),
          .dv = make_map(layout_of(op.dv), Tile::kGroupKeys),
          .heads = heads,
          .heads_per_group = heads / groups,
          .tiles = tiles,
          .blocks = blocks,
          .parts = parts_of_items(heads, blocks, tiles, grid, rows, width),
          .scale = static_cast<float>(op.scale),
          .scale_log2 = static_cast<float>(op.scale) * kLog2E};
}

/// Sets the workspace's pieces of the parameters and returns those of the preparation.
template <class Tile>
PrepareParams<Tile::kQueries> lay_out(const AttentionBwd& op, const Stream& stream,
                                      BackwardParams<Tile>& params) {
  constexpr int kQueries = Tile::kQueries;
  const auto tiles = static_cast<std::size_t>(params.tiles);
  const auto heads = static_cast<std::size_t>(params.heads), pairs = heads * tiles;
  const auto parts = static_cast<std::size_t>(params.parts);
  Layout layout;
  const std::size_t dq =
      layout.take(pairs * parts * Tile::kStrips * sizeof(typename Tile::QuerySums));
  const auto blocks = static_cast<std::size_t>(params.blocks);
  const std::size_t key_tiles = params.adds_keys() ? heads * parts * blocks * Tile::kKeyTiles : 0;
  const std::size_t dk = layout.take(key_tiles * sizeof(typename Tile::KeySums));
  const std::size_t dv = layout.take(key_tiles * sizeof(typename Tile::ValueSums));
  const std::size_t stats = layout.take(pairs * sizeof(typename Tile::Stats));
  const std::size_t row_spans = layout.take(tiles * sizeof(TileIntervals<kQueries>));
  const std::size_t spans = layout.take(tiles * sizeof(Span));
  const std::size_t order = layout.take(blocks * sizeof(KeyBlock));
  const std::size_t cut_into = layout.take(blocks * sizeof(int));
  const std::size_t turns = layout.take(pairs * parts * sizeof(int)),
                    claimed = layout.take(sizeof(int));
  void* base = Context::current().workspace(stream, layout.bytes());
  params.dq = at<typename Tile::QuerySums>(base, dq);
  params.dk_parts = at<typename Tile::KeySums>(base, dk);
  params.dv_parts = at<typename Tile::ValueSums>(base, dv);
  params.stats = at<typename Tile::Stats>(base, stats);
  params.row_spans = at<TileIntervals<kQueries>>(base, row_spans);
  params.spans = at<Span>(base, spans);
  params.order = at<KeyBlock>(base, order);
  params.cut_into = at<int>(base, cut_into);
  params.turns = at<int>(base, turns);
  params.claimed = at<int>(base, claimed);
  return {.dout = packets_of(op.dout),
          .o = packets_of(op.o),
          .lse = op.lse.as<float>(),
          .intervals = {op.k_begin.as<std::int32_t>(), op.k_end.as<std::int32_t>(),
                        static_cast<int>(op.q.shape[0]), static_cast<int>(op.k.shape[0])},
          .value_width = Tile::kValueWidth,
          .stats = at<typename Tile::Stats>(base, stats),
          .row_spans = at<TileIntervals<kQueries>>(base, row_spans),
          .turns = params.turns,
          .claimed = params.claimed,
          .plan = {.spans = params.spans,
                   .tiles = params.tiles,
                   .blocks = params.blocks,
                   .parts = params.parts,
                   .order = params.order,
                   .cut_into = params.cut_into}};
}

/// dq, and dk and dv where these are sums of several heads or parts, to bf16.
template <class Tile>
void round(const AttentionBwd& op, const Call& call, const BackwardParams<Tile>& params) {
  constexpr int kTileRows = Tile::kSplitRows ? Tile::kGroups : 1;  // of 64
  const RoundParams<Tile::kQueryColumns> dq{.sums = params.dq,
                                            .marks = params.turns,
                                            .counts = nullptr,
                                            .to = packets_of(op.dq),
                                            .heads = params.heads,
                                            .tiles = params.tiles * kTileRows,
                                            .strips = Tile::kSplitRows ? 1 : Tile::kStrips,
                                            .rows = static_cast<int>(op.q.shape[0]),
                                            .parts = params.parts,
                                            .parts_of_head = params.parts,
                                            .per_mark = kTileRows,
                                            .scale = params.scale};
  const int groups = params.adds_keys() ? params.heads / params.heads_per_group : 0;
  const auto keys = [&](const auto* sums, const Tensor& to, float scale) {
    return RoundParams<std::remove_pointer_t<decltype(sums)>::kWidth>{
        .sums = sums,
        .marks = nullptr,
        .counts = params.parts > 1 ? params.cut_into : nullptr,
        .to = packets_of(to),
        .heads = groups,
        .tiles = params.blocks * Tile::kKeyTiles,
        .strips = 1,
        .rows = static_cast<int>(op.k.shape[0]),
        .parts = params.heads_per_group * params.parts,
        .parts_of_head = params.parts,
        .per_mark = Tile::kKeyTiles,
        .scale = scale};
  };
  const RoundParams dk = keys(params.dk_parts, op.dk, params.scale);
  const RoundParams dv = keys(params.dv_parts, op.dv, 1.0f);
  const auto pieces = static_cast<unsigned>(dq.pieces() + dk.pieces() + dv.pieces());
  launch_kernel(call, {.blocks = pieces, .threads = kWarpgroup},
                round_gradients<Tile::kQueryColumns, Tile::kKeyWidth, Tile::kValueWidth>, dq, dk,
                dv);
}

template <class Tile>
void differentiate(const AttentionBwd& op, const Call& call) {
  BackwardParams<Tile> params = parameters<Tile>(op);
  const PrepareParams<Tile::kQueries> prepare = lay_out(op, call.stream, params);
  const PlanParams& plan = prepare.plan;
  const dim3 query_tiles(static_cast<unsigned>(params.tiles + (plan.is_small() ? 1 : 0)),
                         static_cast<unsigned>(params.heads));
  const Grid rows{.blocks = query_tiles, .threads = kPrepareThreads};
  if (plan.is_small()) {
    launch_kernel(call, rows, prepare_rows<Tile::kQueries, Tile::kKeys>, prepare);
  } else {
    launch_kernel(call, {.blocks = 1, .threads = LargePlan::kThreads},
                  plan_backward<Tile::kKeys, Tile::kQueries>, plan, prepare.intervals);
    launch_overlapping(call, rows, prepare_rows<Tile::kQueries, Tile::kKeys>, prepare);
  }
  const auto items = static_cast<unsigned>(params.blocks * params.heads * params.parts);
  const Grid grid{.blocks = std::min(items, Context::current().multiprocessors()),
                  .threads = Tile::kThreads,
                  .shared_bytes = sizeof(BackwardShared<Tile>)};
  launch_kernel(call, grid, attention_backward<Tile>, params);
  round(op, call, params);
}

}  // namespace

bool takes_hopper(const AttentionBwd& op) {
  if (!Context::current().hopper() || !has_hopper_kernel(op)) return false;
  for (const ConstTensor& x : {op.q, op.k, op.v, op.o, op.dout, ConstTensor(op.dq),
                               ConstTensor(op.dk), ConstTensor(op.dv)}) {
    if (!addressable(layout_of(x))) return false;
  }
  return true;
}

void differentiate_hopper(const AttentionBwd& op, const Call& call) {
  with_tile(op.q.shape[2], op.v.shape[2],
            [&](auto tile) { differentiate<decltype(tile)>(op, call); });
}

}  // namespace strait::kernels::cuda
