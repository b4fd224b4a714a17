#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/score_unit.h"
#include "kernels/cuda/sm90/attention_fwd.cuh"
#include "kernels/hopper.h"

namespace strait::kernels::cuda {
namespace {

using namespace sm90;

/// Calls body(ForwardTile<...>{}) for the tile of these head dims, one of kAttentionTiles.
template <class Body>
void with_tile(std::int64_t key_width, std::int64_t value_width, Body&& body) {
  const auto are = [&](int key, int value) { return key_width == key && value_width == value; };
  if (are(64, 64)) return body(ForwardTile<64, 64, 3, 128, 2, 1>{});
  if (are(128, 128)) return body(ForwardTile<128, 128, 2, 128, 2, 8>{});
  if (are(192, 128)) return body(ForwardTile<192, 128, 2, 128, 1, 12>{});
  if (are(256, 256)) return body(ForwardTile<256, 256, 2, 64, 1, 8>{});
  throw OpError("AttentionFwd: heads of kAttentionTiles without a tile here");
}

/// Sections of key/value heads (schedule.cuh): of about a third of an H100's 50 MB of L2, because
/// each half of the cache keeps its own copy of what its multiprocessors read.
int sections_of(const AttentionFwd& op) {
  constexpr std::int64_t kSectionBytes = 32 << 20;
  const std::int64_t groups = op.k.shape[1];
  const std::int64_t bytes = op.k.shape[0] * (op.k.shape[2] + op.v.shape[2]) * 2;
  const std::int64_t most = std::max<std::int64_t>(1, kSectionBytes / bytes);
  return static_cast<int>(ceil_div(groups, most));
}

/// Parts of the keys (forward_parts.cuh): where there are fewer than two tiles of queries for each
/// multiprocessor, as many as a causal mask needs for all to have the same work, if that takes
/// enough off the longest tile to pay for adding up (about four blocks of keys).
template <class Tile>
ForwardParts parts_of(const AttentionFwd& op, const Stream& stream, ItemCounters* counters) {
  constexpr std::int64_t kLeastBlocks = 2, kLeastGain = 5;
  constexpr std::int64_t kPlaces = (Context::kZeros - sizeof(ItemCounters)) / sizeof(int);
  const std::int64_t multiprocessors = Context::current().multiprocessors();
  const std::int64_t tiles = ceil_div(op.q.shape[0], Tile::kRows) * op.q.shape[1];
  const std::int64_t blocks = ceil_div(op.k.shape[0], Tile::kKeys), places = tiles * Tile::kGroups;
  const std::int64_t share =
      std::max(kLeastBlocks, ceil_div(tiles * (blocks + 1), 2 * multiprocessors));
  if (tiles >= 2 * multiprocessors || blocks - share < kLeastGain || places > kPlaces) return {};
  const std::int64_t most = ceil_div(blocks, share);
  constexpr std::size_t kPart = sizeof(ForwardPart<Tile::kValueWidth>);
  const std::size_t bytes = static_cast<std::size_t>(places * most) * kPart;
  return {.sums = Context::current().workspace(stream, bytes),
          .arrived = reinterpret_cast<int*>(counters + 1),
          .most = static_cast<int>(most),
          .blocks = static_cast<int>(share)};
}

template <class Tile>
void attend(const AttentionFwd& op, const Call& call) {
  const auto tokens = static_cast<int>(op.q.shape[0]), keys = static_cast<int>(op.k.shape[0]);
  const auto heads = static_cast<int>(op.q.shape[1]), groups = static_cast<int>(op.k.shape[1]);
  const float scale_log2 = static_cast<float>(op.scale) * kLog2E;
  auto* const counters = static_cast<ItemCounters*>(Context::current().zeros(call.stream));
  const ForwardParts parts = parts_of<Tile>(op, call.stream, counters);
  const ForwardParams params{
      .q = make_map(layout_of(op.q), Tile::kRows),
      .k = make_map(layout_of(op.k), Tile::kKeys),
      .v = make_map(layout_of(op.v), Tile::kKeys),
      .o = make_map(layout_of(op.o), Tile::kGroupRows),
      .lse = op.lse.as<float>(),
      .intervals = {op.k_begin.as<std::int32_t>(), op.k_end.as<std::int32_t>(), tokens, keys},
      .counters = counters,
      .parts = parts,
      .heads = heads,
      .heads_per_group = heads / groups,
      .sections = sections_of(op),
      .scale_log2 = scale_log2,
      .unit = score_unit(op.scale, scale_log2)};
  const unsigned items =
      blocks_for(tokens, Tile::kRows) * static_cast<unsigned>(heads * parts.most);
  const Grid grid{.blocks = std::min(items, Context::current().multiprocessors()),
                  .threads = Tile::kThreads,
                  .shared_bytes = sizeof(ForwardShared<Tile>)};
  launch_kernel(call, grid, attention_forward<Tile>, params);
}

}  // namespace

bool takes_hopper(const AttentionFwd& op) {
  return Context::current().hopper() && has_hopper_kernel(op) && op.scale > 0 &&
         addressable(layout_of(op.q)) && addressable(layout_of(op.k)) &&
         addressable(layout_of(op.v)) && addressable(layout_of(op.o));
}

void attend_hopper(const AttentionFwd& op, const Call& call) {
  with_tile(op.q.shape[2], op.v.shape[2], [&](auto tile) { attend<decltype(tile)>(op, call); });
}

}  // namespace strait::kernels::cuda
