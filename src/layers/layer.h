#pragma once

#include "config/config.h"
#include "core/param_table.h"
#include "parallel/ctx.h"

namespace strait::layers {

using parallel::Ctx;
using parallel::Pass;

/// What a constructor gets: it registers parameters in `table` and keeps what it needs of the rest.
struct Build {
  const config::Model& model;
  const parallel::Mesh& mesh;
  core::ParamTable& table;
  bool wide_residual = false;  // the residual stream in the statistics dtype
  std::int64_t layer = 0;      // of the block that is being built

  DType dtype() const { return table.dtype(); }
  DType residual_dtype() const { return wide_residual ? kernels::stat_dtype(dtype()) : dtype(); }
  bool slides() const { return config::slides(model.attention, layer); }
  /// Standard deviation of projections that write to the residual stream: init_std / sqrt(2 L).
  double output_std() const;
};

/// A map [T, D] -> [T, D] with explicit backward. forward keeps what backward needs in the arena
/// ctx.saved, x included, so x must stay until backward. backward assigns dx and adds parameter
/// gradients. Layers are used once per micro-batch, backward in the reverse order of forward.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual void forward(Ctx& ctx, ConstTensor x, Tensor y) = 0;
  virtual void backward(Ctx& ctx, ConstTensor dy, Tensor dx) = 0;

  /// Takes and clears sums that live for one optimizer step (ctx.state).
  virtual void begin_step(Ctx&) {}
  /// After the last micro-batch of a training step: updates that are not gradients.
  virtual void end_step(Ctx&) {}
};

}  // namespace strait::layers
