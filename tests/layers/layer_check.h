#pragma once

#include <memory>

#include "layers/moe/moe.h"
#include "tests/layers/harness.h"

namespace strait::test {

using MakeLayer = std::function<std::unique_ptr<layers::Layer>(const layers::Build&)>;

/// Gradient check of a map [T, D] -> [T, D] with loss = sum(y * probe), plus, for a mixture of
/// experts, the balance losses as the router weighs them.
class LayerCheck {
 public:
  LayerCheck(const config::Model& model, const Documents& documents, const MakeLayer& make)
      : harness_(model, documents), moe_config_(model.ffn.moe), layer_(make(harness_.build())) {
    const std::int64_t T = harness_.tokens(), D = model.d_model;
    x_ = buffers_.normal(DType::f64, {T, D});
    y_ = buffers_.poisoned(DType::f64, {T, D});
    probe_ = buffers_.normal(DType::f64, {T, D});
    dx_ = buffers_.poisoned(DType::f64, {T, D});
    harness_.allocate([&] { step(); });
  }

  /// With respect to the input and to every parameter.
  void run() {
    harness_.clear_gradients();
    step();
    counts_ = counts();
    const auto loss = [&] { return this->loss(); };
    EXPECT_LE(gradient_error(x_, dx_, loss), kGradientTolerance) << "input";
    harness_.expect_parameter_gradients(loss);
    EXPECT_FALSE(flipped_) << "a difference changed the routing; choose another seed";
  }

  Harness& harness() { return harness_; }
  /// Output [T, D] and choices per expert of the last pass.
  ConstTensor y() const { return y_; }
  const std::vector<double>& choices() const { return counts_; }

 private:
  void begin() {
    harness_.ctx().state.release(0);
    layer_->begin_step(harness_.ctx());
  }

  void step() {
    begin();
    const core::Frame saved(harness_.ctx().saved);
    layer_->forward(harness_.ctx(), x_, y_);
    layer_->backward(harness_.ctx(), probe_, dx_);
  }

  double loss() {
    begin();
    const core::Frame saved(harness_.ctx().saved);
    layer_->forward(harness_.ctx(), x_, y_);
    double total = dot(y_, probe_);
    const auto* moe = dynamic_cast<const layers::MoeFfn*>(layer_.get());
    if (!moe) return total;
    const parallel::LossScale& scale = harness_.ctx().scale;
    total += moe_config_.aux_coef * scale.per_sequence * get(moe->router_totals().aux, 0);
    total += moe_config_.z_coef * harness_.per_token() * get(moe->router_totals().z, 0);
    flipped_ = flipped_ || counts() != counts_;
    return total;
  }

  /// Choices per expert; empty for a layer without experts.
  std::vector<double> counts() const {
    const auto* moe = dynamic_cast<const layers::MoeFfn*>(layer_.get());
    return moe ? values(moe->router_totals().counts) : std::vector<double>{};
  }

  Harness harness_;
  config::Moe moe_config_;
  std::unique_ptr<layers::Layer> layer_;
  Buffers buffers_;
  Tensor x_, y_, probe_, dx_;
  std::vector<double> counts_;
  bool flipped_ = false;
};

inline void check_layer(const config::Model& model, const Documents& documents,
                        const MakeLayer& make) {
  LayerCheck(model, documents, make).run();
}

}  // namespace strait::test
