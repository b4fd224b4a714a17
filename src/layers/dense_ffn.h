#pragma once

#include <string>

#include "layers/layer.h"
#include "layers/linear.h"

namespace strait::layers {

/// SwiGLU feed-forward: y = W_down (silu(W_gate x) * W_up x), gate and up as one GEMM.
class DenseFfn final : public Layer {
 public:
  /// `width` is the hidden width F.
  DenseFfn(const Build& build, const std::string& name, std::int64_t width);
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;
  /// As backward, but adds to dx (a shared expert beside routed ones).
  void backward_add(Ctx& ctx, ConstTensor dy, Tensor dx);

 private:
  Tensor backward_hidden(Ctx& ctx, ConstTensor dy);

  std::int64_t width_;
  Linear gate_up_;
  Linear down_;
  struct {
    ConstTensor x;   // [T, D]
    Tensor gate_up;  // [T, 2F]
    Tensor hidden;   // [T, F]
  } saved_;
};

}  // namespace strait::layers
