#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// y = silu(gate) * up with gate_up = [gate | up] (arXiv 2002.05202).
struct SwigluFwd {
  static constexpr const char* kName = "SwigluFwd";
  ConstTensor gate_up;  // [N, 2F], gate channels first
  Tensor y;             // [N, F]
};

struct SwigluBwd {
  static constexpr const char* kName = "SwigluBwd";
  ConstTensor dy;       // [N, F]
  ConstTensor gate_up;  // [N, 2F]
  Tensor dgate_up;      // [N, 2F], assigned; may alias gate_up
};

/// y = z Phi(z) with z = x + bias, Phi the normal distribution function: the exact GELU
/// (arXiv 1606.08415).
struct GeluFwd {
  static constexpr const char* kName = "GeluFwd";
  ConstTensor x;     // [N, F]
  ConstTensor bias;  // [F]
  Tensor y;          // [N, F]; may alias x
};

/// dx = dy gelu'(x + bias); dbias += sum over rows of dx.
struct GeluBwd {
  static constexpr const char* kName = "GeluBwd";
  ConstTensor dy;    // [N, F]
  ConstTensor x;     // [N, F]
  ConstTensor bias;  // [F]
  Tensor dx;         // [N, F], assigned; may alias dy
  Tensor dbias;      // [F], accumulated
};

void check(const SwigluFwd& op);
void check(const SwigluBwd& op);
void check(const GeluFwd& op);
void check(const GeluBwd& op);
Work work(const SwigluFwd& op);
Work work(const SwigluBwd& op);
Work work(const GeluFwd& op);
Work work(const GeluBwd& op);

}  // namespace strait::kernels
