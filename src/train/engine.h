#pragma once

#include <array>
#include <memory>
#include <vector>

#include "kernels/async.h"
#include "model/transformer.h"

namespace strait::train {

/// What changes from step to step, as it lies in device memory.
struct StepValues {
  double per_token;              // 1 / counted labels of the step
  std::array<double, 4> rates;   // kernels::adam_rates
  std::array<double, 2> limits;  // of the sum of losses and of the gradient norm, see StepGuard
};

/// A model with its parameters and memory on one rank. It starts in planning (every arena measures,
/// nothing is allocated); allocate() gives it memory and initial weights. Owns all but the groups.
class Engine {
 public:
  Engine(const config::Config& config, const parallel::Mesh& mesh, parallel::Groups& groups);

  /// Ends planning: allocates every arena at its measured size and fills the weights from run.seed.
  void allocate(Device device);
  /// Lets ranks write into each other's memory, where they can. Collective; once every rank has
  /// allocated.
  void connect();
  /// Ends that, before the memory of one of several engines of a program goes. Collective; nothing
  /// of this engine's runs any more.
  void disconnect();

  const config::Config& config() const { return config_; }
  const parallel::Mesh& mesh() const { return mesh_; }
  core::ParamTable& table() { return table_; }
  const core::ParamTable& table() const { return table_; }
  model::Transformer& model() { return model_; }
  parallel::SequenceShard& shard() { return shard_; }
  parallel::Ctx& ctx() { return ctx_; }
  /// A step's values on the device: all of StepValues [7] f64, the part AdamW reads [4] f64, and
  /// what a step may reach [2] f64.
  Tensor values() const { return values_; }
  Tensor rates() const { return values_.slice(0, 1, 4); }
  ConstTensor limits() const { return values_.slice(0, 5, 2); }
  /// Device memory for blocks of two micro-batches that are on their way, [2, block] i32.
  Tensor staging() const { return staging_; }
  /// Arenas beside those of the table: activations, scratch, step state, inputs.
  std::vector<const core::Arena*> arenas() const;

  /// Sequences of one micro-batch on this rank, and micro-batches of one step.
  std::int64_t micro_batch() const { return config_.train.micro_batch; }
  std::int64_t micro_batches() const;

 private:
  void bind();
  /// Whether every rank has a GPU of its own, and what they exchange moves beside the model.
  bool meets_beside() const { return ctx_.groups.own_gpus() && config_.parallel.overlap; }
  /// Between the ranks of an axis; null where not all of them reach each other. Collective.
  parallel::Peers* peers_of(core::Axis axis);

  config::Config config_;
  parallel::Mesh mesh_;
  core::ParamTable table_;
  model::Transformer model_;
  parallel::SequenceShard shard_;
  parallel::Arenas arenas_;
  core::Arena arriving_{"arriving gradients"};  // PeerLinks::arriving
  Tensor values_;
  Tensor staging_;
  kernels::OwnedStream stream_{Device::plan};
  std::unique_ptr<parallel::Lane> lane_;
  std::vector<std::unique_ptr<parallel::Peers>> peers_;
  parallel::Ctx ctx_;
};

/// Whether keys go round between context ranks: as the config says, or if that sends less.
bool exchanges_by_ring(const config::Config& config);

/// The compute dtype that precision.compute names.
DType compute_dtype(config::Compute compute);

/// The dtypes of weights and, for training, of gradients and optimizer states.
core::ParamDtypes param_dtypes(const config::Config& config, bool training);

/// What the layers of a config's model are made from.
layers::Build build_of(const config::Config& config, const parallel::Mesh& mesh,
                       core::ParamTable& table);

}  // namespace strait::train
