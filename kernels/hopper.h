#pragma once

#include <algorithm>
#include <array>

#include "kernels/attention.h"
#include "kernels/cca.h"

// Which ops the kernels for Hopper are made for. Dispatch asks here, and then for the device and
// for rows that TMA can address; without a device (a plan) this alone tells.
namespace strait::kernels {

struct HeadDims {
  std::int64_t key = 0, value = 0;
  bool operator==(const HeadDims&) const = default;
};

/// Tiles of the attention kernels, for Hopper and general ones, in the order in which they are
/// tried. Hopper's take heads of exactly these dims, the general ones pad heads to the first tile
/// that holds them.
inline constexpr std::array<HeadDims, 4> kAttentionTiles{
    {{64, 64}, {128, 128}, {192, 128}, {256, 256}}};

/// Heads of the fused CCA mix.
inline constexpr std::int64_t kFusedMixHead = 128;

/// The tile that the general kernels pad these heads to; the heads themselves where none holds
/// them.
constexpr HeadDims padded_heads(HeadDims heads) {
  const auto* const tile = std::ranges::find_if(kAttentionTiles, [&](const HeadDims& t) {
    return heads.key <= t.key && heads.value <= t.value;
  });
  return tile == kAttentionTiles.end() ? heads : *tile;
}

/// Whether a bf16 op of these heads has a kernel for Hopper.
constexpr bool has_hopper_kernel(HeadDims heads) {
  return std::ranges::find(kAttentionTiles, heads) != kAttentionTiles.end();
}

template <class Op>
concept AttentionOp = std::same_as<Op, AttentionFwd> || std::same_as<Op, AttentionBwd>;
template <class Op>
concept MixOp = std::same_as<Op, CcaMixFwd> || std::same_as<Op, CcaMixBwd>;

template <AttentionOp Op>
bool has_hopper_kernel(const Op& op) {
  return op.q.dtype == DType::bf16 && has_hopper_kernel({op.q.shape[2], op.v.shape[2]});
}

/// Two taps in each convolution, heads normalised, halves rotated against each other, whole, by
/// half or not at all.
template <MixOp Op>
bool has_hopper_kernel(const Op& op) {
  constexpr std::int64_t kHead = kFusedMixHead;
  return op.z.dtype == DType::bf16 && op.switches.convs == 2 && op.switches.norm &&
         op.w0.shape[0] == 2 && op.w1.shape[2] == kHead && op.w1.shape[1] == 2 * kHead &&
         !op.rope.interleaved &&
         (op.rope.dims == kHead || op.rope.dims == kHead / 2 || op.rope.dims == 0);
}

/// After an op's name, where observers are told of a bf16 op that has kernels for Hopper, but not
/// of its form: it runs the general ones.
inline constexpr const char* kGeneral = " general";

template <AttentionOp Op>
bool takes_general_kernel(const Op& op) {
  return op.q.dtype == DType::bf16 && !has_hopper_kernel(op);
}
template <MixOp Op>
bool takes_general_kernel(const Op& op) {
  return op.z.dtype == DType::bf16 && !has_hopper_kernel(op);
}

}  // namespace strait::kernels
