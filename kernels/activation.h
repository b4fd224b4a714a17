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

void check(const SwigluFwd& op);
void check(const SwigluBwd& op);
Work work(const SwigluFwd& op);
Work work(const SwigluBwd& op);

}  // namespace strait::kernels
