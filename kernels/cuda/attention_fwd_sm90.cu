#include <algorithm>

#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/score_unit.h"
#include "kernels/cuda/sm90/attention_fwd.cuh"

namespace strait::kernels::cuda {
namespace {

using namespace sm90;

bool has_tile(std::int64_t key_width, std::int64_t value_width) {
  return key_width == 128 && value_width == 128;
}

template <class Tile>
void attend(const AttentionFwd& op, const Call& call) {
  const auto tokens = static_cast<int>(op.q.shape[0]), keys = static_cast<int>(op.k.shape[0]);
  const auto heads = static_cast<int>(op.q.shape[1]), groups = static_cast<int>(op.k.shape[1]);
  const float scale_log2 = static_cast<float>(op.scale) * kLog2E;
  const ForwardParams params{
      .q = make_map(layout_of(op.q), Tile::kRows),
      .k = make_map(layout_of(op.k), Tile::kKeys),
      .v = make_map(layout_of(op.v), Tile::kKeys),
      .o = make_map(layout_of(op.o), Tile::kGroupRows),
      .lse = op.lse.as<float>(),
      .intervals = {op.k_begin.as<std::int32_t>(), op.k_end.as<std::int32_t>(), tokens, keys},
      .heads = heads,
      .heads_per_group = heads / groups,
      .scale_log2 = scale_log2,
      .unit = score_unit(op.scale, scale_log2)};
  const unsigned tiles = blocks_for(tokens, Tile::kRows) * static_cast<unsigned>(heads);
  const Grid grid{.blocks = std::min(tiles, Context::current().multiprocessors()),
                  .threads = Tile::kThreads,
                  .shared_bytes = sizeof(ForwardShared<Tile>)};
  launch_kernel(call, grid, attention_forward<Tile>, params);
}

}  // namespace

bool takes_hopper(const AttentionFwd& op) {
  return Context::current().hopper() && op.q.dtype == DType::bf16 && op.scale > 0 &&
         has_tile(op.q.shape[2], op.v.shape[2]) && addressable(layout_of(op.q)) &&
         addressable(layout_of(op.k)) && addressable(layout_of(op.v)) &&
         addressable(layout_of(op.o));
}

void attend_hopper(const AttentionFwd& op, const Call& call) {
  attend<ForwardTile<128, 128, 128>>(op, call);
}

}  // namespace strait::kernels::cuda
