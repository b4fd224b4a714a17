#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "core/rng.h"
#include "layers/layer.h"
#include "tests/support/tensors.h"

namespace strait::test {

inline constexpr double kGradientTolerance = 1e-6;

/// Lengths of the documents in each sequence; all sequences are equally long.
using Documents = std::vector<std::vector<std::int32_t>>;

inline std::int64_t sequence_length(const Documents& documents) {
  return std::accumulate(documents.at(0).begin(), documents.at(0).end(), std::int64_t{0});
}

/// Tokens before each one in its document.
inline std::vector<std::int32_t> document_positions(const Documents& documents) {
  std::vector<std::int32_t> positions;
  for (const auto& sequence : documents) {
    for (const std::int32_t length : sequence) {
      for (std::int32_t t = 0; t < length; ++t) positions.push_back(t);
    }
  }
  return positions;
}

/// Weights that hide nothing: `table` initialised from `seed`, and the parameters that start as
/// constants (norms, biases, temperatures) moved off them.
inline void randomise(core::ParamTable& table, std::uint64_t seed = 7) {
  table.initialise(seed, Stream{});
  for (const core::Param& param : table.params()) {
    if (param.spec.init.kind != core::Init::Kind::constant) continue;
    const core::Rng rng(seed, param.spec.name);
    for (std::int64_t i = 0; i < param.weight.numel(); ++i) {
      set(param.weight, i, get(param.weight, i) + 0.3 * rng.normal(static_cast<std::uint64_t>(i)));
    }
  }
}

/// Parameters, arenas and tokens of one layer under test, on the CPU. Construct, build
/// the layer with build(), then allocate() with a function that runs it once.
class Harness {
 public:
  Harness(const config::Model& model, const Documents& documents, DType dtype = DType::f64)
      : model_(model),
        table_(dtype),
        doc_pos_(document_positions(documents)),
        shard_(parallel::MaskRule::of(model.attention), static_cast<std::int64_t>(documents.size()),
               sequence_length(documents)) {
    ctx_.pass = layers::Pass::train;
    ctx_.scale = {.per_token = Tensor(&per_token_, DType::f64, {1}), .per_sequence = 0.5};
    for (std::size_t t = 0; t < doc_pos_.size(); ++t) {
      const auto vocab = static_cast<std::uint64_t>(std::max<std::int64_t>(model.vocab_size, 2));
      ids_.push_back(static_cast<std::int32_t>((7 * t + t / 3) % vocab));
      labels_.push_back(t % 5 == 3 ? -1 : static_cast<std::int32_t>((5 * t + 1) % vocab));
    }
  }

  layers::Build build() { return {.model = model_, .mesh = mesh_, .table = table_}; }

  /// Runs `plan` on a planning context, allocates what it took, draws the weights.
  void allocate(const std::function<void()>& plan, Device device = Device::cpu) {
    table_.allocate(Device::plan);
    shard_.bind(arenas_.inputs);
    ctx_.tokens = &shard_.load(ids_, labels_, doc_pos_, ctx_.stream);
    plan();
    ctx_.stream.device = device;
    table_.allocate(device);
    arenas_.allocate(device);
    shard_.bind(arenas_.inputs);
    ctx_.tokens = &shard_.load(ids_, labels_, doc_pos_, ctx_.stream);
    if (device == Device::cpu) randomise(table_);  // elsewhere the caller writes the weights
  }

  void clear_gradients() {
    for (const core::Param& param : table_.params()) {
      for (std::int64_t i = 0; i < param.grad.numel(); ++i) set(param.grad, i, 0);
    }
  }

  /// Compares every parameter's gradient with differences of `loss`.
  void expect_parameter_gradients(const std::function<double()>& loss) {
    for (const core::Param& param : table_.params()) {
      if (!param.spec.trainable) continue;
      EXPECT_LE(gradient_error(param.weight, param.grad, loss), kGradientTolerance)
          << param.spec.name;
    }
  }

  layers::Ctx& ctx() { return ctx_; }
  double per_token() const { return per_token_; }
  core::ParamTable& table() { return table_; }
  std::int64_t tokens() const { return static_cast<std::int64_t>(doc_pos_.size()); }

 private:
  config::Model model_;
  parallel::Mesh mesh_;
  parallel::Groups groups_;
  core::ParamTable table_;
  std::vector<std::int32_t> ids_, labels_, doc_pos_;
  parallel::SequenceShard shard_;
  double per_token_ = 0.25;
  parallel::Arenas arenas_;
  layers::Ctx ctx_ = arenas_.ctx(groups_);
};

}  // namespace strait::test
