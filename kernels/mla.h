#pragma once

#include "kernels/check.h"
#include "kernels/qk_norm_rope.h"
#include "kernels/stream.h"

// Multi-head latent attention (DeepSeek-V2/V3), the step between up-projections and attention.
// Dims: n = nope width, r = rope width, dv = value width of a head.
namespace strait::kernels {

/// q[t,h] = [q_up nope | rope(q_up rope part)];  k[t,h] = [kv_up nope | rope(k_rope[t])].
/// Values are the view kv_up[:, :, n:] and need no op. rope.dims must be r.
struct MlaAssembleFwd {
  static constexpr const char* kName = "MlaAssembleFwd";
  ConstTensor q_up;       // [T, H, n + r]
  ConstTensor kv_up;      // [T, H, n + dv], nope key channels first
  ConstTensor k_rope;     // [T, r], shared by all heads
  ConstTensor positions;  // [T] i32
  Tensor q;               // [T, H, n + r]; may alias q_up
  Tensor k;               // [T, H, n + r]
  Rope rope;
};

/// dk_rope sums over heads in head order.
struct MlaAssembleBwd {
  static constexpr const char* kName = "MlaAssembleBwd";
  ConstTensor dq;         // [T, H, n + r]
  ConstTensor dk;         // [T, H, n + r]
  ConstTensor dv;         // [T, H, dv]
  ConstTensor positions;  // [T] i32
  Tensor dq_up;           // [T, H, n + r], assigned; may alias dq
  Tensor dkv_up;          // [T, H, n + dv], assigned
  Tensor dk_rope;         // [T, r], assigned
  Rope rope;
};

void check(const MlaAssembleFwd& op);
void check(const MlaAssembleBwd& op);
Work work(const MlaAssembleFwd& op);
Work work(const MlaAssembleBwd& op);

}  // namespace strait::kernels
