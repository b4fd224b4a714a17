#pragma once

#include <cstring>
#include <vector>

#include "tests/layers/harness.h"
#include "tests/layers/small_models.h"
#include "train/plan.h"
#include "train/step.h"

namespace strait::test {

struct RunOptions {
  config::Compute compute = config::Compute::f64;
  config::Recompute recompute = config::Recompute::none;
  std::int64_t micro_batches = 1;
  config::OptimKind optimizer = config::OptimKind::adamw;
};

inline config::Config small_config(const config::Model& model, const Documents& documents,
                                   const RunOptions& options) {
  config::Config config;
  config.model = model;
  config.data.seq_len = sequence_length(documents);
  config.train.micro_batch = static_cast<std::int64_t>(documents.size());
  config.train.batch_size = config.train.micro_batch * options.micro_batches;
  config.train.recompute = options.recompute;
  config.precision.compute = options.compute;
  config.optim.kind = options.optimizer;
  return config;
}

/// A whole model on one rank, planned, allocated and with random weights. Every micro-batch has the
/// same documents and tokens of its own.
class ModelRun {
 public:
  ModelRun(const config::Model& model, const Documents& documents, const RunOptions& options = {})
      : engine_(small_config(model, documents, options), mesh_, groups_),
        doc_pos_(document_positions(documents)) {
    plan_ = train::plan_step(engine_);
    engine_.allocate(Device::cpu);
    randomise(engine_.table());
    load(0);
  }

  train::Engine& engine() { return engine_; }
  core::ParamTable& table() { return engine_.table(); }
  const train::StepPlan& plan() const { return plan_; }

  const parallel::TokenBatch& load(std::int64_t micro_batch) {
    const auto vocab = static_cast<std::uint64_t>(engine_.config().model.vocab_size);
    std::vector<std::int32_t> ids, labels;
    for (std::size_t t = 0; t < doc_pos_.size(); ++t) {
      const std::uint64_t at = 13 * static_cast<std::uint64_t>(micro_batch) + t;
      ids.push_back(static_cast<std::int32_t>((7 * at + at / 3) % vocab));
      labels.push_back(at % 5 == 3 ? -1 : static_cast<std::int32_t>((5 * at + 1) % vocab));
    }
    parallel::Ctx& ctx = engine_.ctx();
    ctx.tokens = &engine_.shard().load(ids, labels, doc_pos_, ctx.stream);
    return *ctx.tokens;
  }

  /// Gradients of all micro-batches, without an update. Returns the sum of token losses.
  double gradients() {
    parallel::Ctx& ctx = engine_.ctx();
    set(engine_.values(), 0, kPerToken);
    ctx.scale.per_sequence = kPerSequence;
    std::memset(table().flat().grad.data, 0, table().flat().grad.bytes());
    engine_.model().begin_step(ctx);
    for (std::int64_t i = 0; i < engine_.micro_batches(); ++i) {
      load(i);
      engine_.model().forward_backward(ctx);
    }
    return get(engine_.model().loss_sum(), 0);
  }

  /// What gradients() are the gradients of, by forward passes alone.
  double objective() {
    parallel::Ctx& ctx = engine_.ctx();
    const config::Moe& moe = engine_.config().model.ffn.moe;
    engine_.model().begin_step(ctx);
    for (std::int64_t i = 0; i < engine_.micro_batches(); ++i) {
      load(i);
      engine_.model().evaluate(ctx);
    }
    double total = kPerToken * get(engine_.model().loss_sum(), 0);
    for (const layers::RouterTotals& layer : engine_.model().router_totals()) {
      total += moe.aux_coef * ctx.scale.per_sequence * get(layer.aux, 0);
      total += moe.z_coef * kPerToken * get(layer.z, 0);
    }
    return total;
  }

  /// One whole optimizer step.
  train::StepOutput step(std::int64_t number) {
    const auto micro_batch = [&](std::int64_t i) -> const parallel::TokenBatch& {
      return load(10 * number + i);
    };
    engine_.ctx().scale.per_sequence = kPerSequence;
    return step_.run({.micro_batch = micro_batch,
                      .micro_batches = engine_.micro_batches(),
                      .labels = 1.0 / kPerToken,
                      .lr = 1e-2,
                      .step = number});
  }

  std::vector<char> gradient_bytes() {
    const Tensor flat = table().flat().grad;
    const auto* begin = flat.as<char>();
    return {begin, begin + flat.bytes()};
  }

  /// Every weight's bytes, in table order.
  std::vector<char> weight_bytes() {
    std::vector<char> all;
    for (const core::Param& param : table().params()) {
      const auto* begin = param.weight.as<char>();
      all.insert(all.end(), begin, begin + param.weight.bytes());
    }
    return all;
  }

 private:
  static constexpr double kPerToken = 0.125, kPerSequence = 0.5;

  parallel::Mesh mesh_;
  parallel::Groups groups_;
  train::Engine engine_;
  train::Step step_{engine_};
  std::vector<std::int32_t> doc_pos_;
  train::StepPlan plan_;
};

}  // namespace strait::test
