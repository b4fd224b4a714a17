#include "kernels/cuda/grouped_gemm_sm90.h"

#include "kernels/cuda/sm90/grouped_gemm.cuh"
#include "kernels/cuda/sm90/tensor_map.h"

namespace strait::kernels::cuda {
namespace {

using namespace sm90;

/// Of rows, or of one matrix for each expert.
TensorLayout layout_of(const ConstTensor& x) {
  const bool wide = x.dtype == DType::f32;
  if (x.rank == 2) return {x.data, x.shape[0], 1, x.shape[1], x.stride[0], x.stride[0], wide};
  return {x.data, x.shape[1], x.shape[0], x.shape[2], x.stride[1], x.stride[0], wide};
}

bool whole_packets(const ConstTensor& x) {
  return x.shape[x.rank - 1] % (16 / size_of(DType::bf16)) == 0;
}

bool is_operand(const ConstTensor& x) {
  return x.dtype == DType::bf16 && whole_packets(x) && addressable(layout_of(x));
}

/// Sums are written a packet of bf16 or a pair of f32 at a time.
bool is_result(const ConstTensor& x) {
  return whole_packets(x) && addressable(layout_of(x));
}

template <class Tile>
void multiply(const GroupedParams& params, const Call& call) {
  const Grid grid{.blocks = Context::current().multiprocessors(),
                  .threads = Tile::kThreads,
                  .shared_bytes = sizeof(GroupedShared<Tile>)};
  launch_kernel(call, grid, grouped_gemm<Tile>, params);
}

using GradientTile = GroupedTile<Grouped::gradient>;

CUtensorMap map_of(const ConstTensor& x) {
  return x.defined() ? make_map(layout_of(x), GradientTile::kBox) : CUtensorMap{};
}

ItemCounters* counters_of(const Call& call) {
  return static_cast<ItemCounters*>(Context::current().zeros(call.stream));
}

/// Behind the counters, for as many tiles as can be in parts; none where they have no room.
int* turns_of(const Call& call) {
  const std::size_t turns = std::size_t{kSplitTiles} * Context::current().multiprocessors() *
                            GradientTile::kConsumerWarps;
  if (sizeof(ItemCounters) + turns * sizeof(int) > Context::kZeros) return nullptr;
  return reinterpret_cast<int*>(counters_of(call) + 1);
}

}  // namespace

bool takes_hopper(const GroupedGemm& op) {
  const bool plain = !op.to.defined() && !op.scale.defined() && !op.accumulate;
  // The term of all experts may be of any width: what TMA finds outside is zero.
  const bool more =
      !op.more_a.defined() || (op.more_a.shape[1] > 0 && addressable(layout_of(op.more_a)) &&
                               addressable(layout_of(op.more_b)));
  return Context::current().hopper() && is_operand(op.a) && is_operand(op.b) && is_result(op.c) &&
         more && (plain || op.c.dtype == DType::bf16);
}

bool takes_hopper(const GroupedGemmWgrad& op) {
  return Context::current().hopper() && is_operand(op.a) && is_operand(op.b) && is_result(op.dw);
}

void multiply_hopper(const GroupedGemm& op, const Call& call, Half half) {
  const GroupedParams params{.a = map_of(op.a),
                             .b = map_of(op.b),
                             .more_a = map_of(op.more_a),
                             .more_b = map_of(op.more_b),
                             .sums = op.c.dtype == DType::bf16
                                         ? make_map(layout_of(op.c), GradientTile::kWarpRows)
                                         : CUtensorMap{},
                             .offsets = op.offsets.as<std::int32_t>(),
                             .c = op.c.data,
                             .c_stride = op.c.stride[0],
                             .c_expert = 0,
                             .counters = counters_of(call),
                             .turns = nullptr,
                             .experts = static_cast<int>(op.b.shape[0]),
                             .rows = 0,
                             .columns = static_cast<int>(op.c.shape[1]),
                             .depth = static_cast<int>(op.a.shape[1]),
                             .more = op.more_a.defined() ? static_cast<int>(op.more_a.shape[1]) : 0,
                             .to = op.to.as<std::int32_t>(),
                             .scale = op.scale.as<float>(),
                             .wide = op.c.dtype == DType::f32,
                             .add = op.accumulate,
                             .lower = half == Half::lower};
  if (op.trans_b) return multiply<GroupedTile<Grouped::rows_by_transposed>>(params, call);
  multiply<GroupedTile<Grouped::rows_by_matrix>>(params, call);
}

void multiply_hopper(const GroupedGemmWgrad& op, const Call& call, Half half) {
  const GroupedParams params{.a = map_of(op.a),
                             .b = map_of(op.b),
                             .more_a = {},
                             .more_b = {},
                             .sums = make_map(layout_of(op.dw), GradientTile::kWarpRows),
                             .offsets = op.offsets.as<std::int32_t>(),
                             .c = op.dw.data,
                             .c_stride = op.dw.stride[1],
                             .c_expert = op.dw.stride[0],
                             .counters = counters_of(call),
                             .turns = turns_of(call),
                             .experts = static_cast<int>(op.dw.shape[0]),
                             .rows = static_cast<int>(op.dw.shape[1]),
                             .columns = static_cast<int>(op.dw.shape[2]),
                             .depth = 0,
                             .more = 0,
                             .to = nullptr,
                             .scale = nullptr,
                             .wide = op.dw.dtype == DType::f32,
                             .add = op.accumulate,
                             .lower = half == Half::lower};
  multiply<GradientTile>(params, call);
}

}  // namespace strait::kernels::cuda
