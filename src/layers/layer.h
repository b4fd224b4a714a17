#pragma once

#include <utility>
#include <vector>

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
  /// `dim` of a parameter divided over tensor ranks (see core::Shard::cuts).
  core::Shard over_tensor(int dim, std::vector<std::int64_t> cuts = {}) const {
    return {.dim = dim,
            .axis = core::Axis::tp,
            .parts = mesh.tp,
            .index = mesh.tp_rank,
            .cuts = std::move(cuts)};
  }
  /// The vocabulary's rows, which need not divide evenly.
  core::Shard over_vocabulary() const {
    core::Shard shard = over_tensor(0);
    shard.even = false;
    return shard;
  }
  /// Experts are divided over expert ranks or, without those, over tensor ranks, each expert.
  bool whole_experts() const { return mesh.ep > 1 || mesh.tp == 1; }
  bool slides() const { return config::slides(model.attention, layer); }
  /// Standard deviation of projections that write to the residual stream: init_std / sqrt(2 L).
  double output_std() const;
};

/// A map [T, D] -> [T, D] of this rank's rows (TokenBatch::rows) with explicit backward; what needs
/// the rows of other tensor ranks gathers them itself (parallel/tensor_split.h). forward keeps what
/// backward needs in the arena ctx.saved, x included, so x must stay until backward. backward
/// assigns dx and adds parameter gradients. Layers are used once per micro-batch, backward in the
/// reverse order of forward.
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
