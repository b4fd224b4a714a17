#pragma once

#include "kernels/check.h"
#include "kernels/qk_norm_rope.h"
#include "kernels/stream.h"

// Compressed Convolutional Attention (arXiv 2510.04476), from the down-projections to q, k, v.
// Dims: H query heads, G key/value heads, d head dim, n0 / n1 taps of the two convolutions.
// Tokens are chunks of `chunk` consecutive rows. Row t has doc_pos[t] predecessors in its document:
// the previous rows of its chunk, before those the chunk's halo columns, before those nothing.
// "Nothing" is z = 0, so the depthwise output there is its bias b0, not 0. A convolution that is
// off counts as one tap; without columns of history to carry, halo_z is absent.
namespace strait::kernels {

enum class KeyTemperature : std::uint8_t { exp, linear };

struct CcaMixSwitches {
  int convs = 2;        // 0: u = z; 1: depthwise only; 2: depthwise, then per head
  bool qk_mean = true;  // add the mean of q and k heads from before the convolutions
  KeyTemperature temperature = KeyTemperature::exp;  // tau = exp(temp) or temp
  bool norm = true;  // L2 norm and temperature; false: rope follows the mean, and temp is absent
};

/// z = [q0 | k0] -> convolutions -> + qk-mean -> L2 norm * sqrt(d) (* tau for k) -> rope.
/// v[t] = flat concat(v_cur[t], v_del[t - 1]) viewed as [G, d].
struct CcaMixFwd {
  static constexpr const char* kName = "CcaMixFwd";
  ConstTensor z;            // [T, (H + G) d], query channels first
  ConstTensor v_cur = {};   // [T, G d - Cd]; absent when every value channel is delayed
  ConstTensor v_del = {};   // [T, Cd] delayed values; absent without value shift
  ConstTensor w0 = {};      // [n0, (H + G) d], oldest tap first; absent with convs = 0
  ConstTensor b0 = {};      // [(H + G) d]
  ConstTensor w1 = {};      // [H + G, n1 d, d], tap-major input, then output; only with convs = 2
  ConstTensor b1 = {};      // [H + G, d]
  ConstTensor temp = {};    // [G]; absent without norm
  ConstTensor positions;    // [T] i32 rope positions
  ConstTensor doc_pos;      // [T] i32 rows before this one in its document
  ConstTensor halo_z = {};  // [T / chunk, (n0-1)+(n1-1), (H + G) d], oldest first, or absent
  ConstTensor halo_v = {};  // [T / chunk, Cd] v_del of the row before each chunk, or absent
  Tensor q;                 // [T, H, d]
  Tensor k;                 // [T, G, d]
  Tensor v;                 // [T, G, d]
  std::int64_t chunk = 0;   // rows per chunk; divides T
  CcaMixSwitches switches;
  Rope rope;
};

/// Recomputes the mix from z. Gradients of activations are assigned (dhalo_* too), of parameters
/// accumulated. Without halos rows with doc_pos beyond the chunk start have no other predecessors.
struct CcaMixBwd {
  static constexpr const char* kName = "CcaMixBwd";
  ConstTensor dq;  // [T, H, d]
  ConstTensor dk;  // [T, G, d]
  ConstTensor dv;  // [T, G, d]
  ConstTensor z;   // as in CcaMixFwd, down to halo_z
  ConstTensor w0 = {};
  ConstTensor b0 = {};
  ConstTensor w1 = {};
  ConstTensor b1 = {};
  ConstTensor temp = {};
  ConstTensor positions;
  ConstTensor doc_pos;
  ConstTensor halo_z = {};
  Tensor dz;            // [T, (H + G) d]
  Tensor dv_cur = {};   // [T, G d - Cd]
  Tensor dv_del = {};   // [T, Cd]
  Tensor dhalo_z = {};  // like halo_z, present exactly when it is
  Tensor dhalo_v = {};  // [T / chunk, Cd], present exactly when the forward had halo_v
  Tensor dw0 = {};      // gradients of the parameters, accumulated, present when they are
  Tensor db0 = {};
  Tensor dw1 = {};
  Tensor db1 = {};
  Tensor dtemp = {};  // [G]
  std::int64_t chunk = 0;
  CcaMixSwitches switches;
  Rope rope;
};

/// Added under the square root of the L2 norm: rsqrt(n^2 + kCcaNormEps).
inline constexpr double kCcaNormEps = 1e-12;

void check(const CcaMixFwd& op);
void check(const CcaMixBwd& op);
Work work(const CcaMixFwd& op);
Work work(const CcaMixBwd& op);

}  // namespace strait::kernels
