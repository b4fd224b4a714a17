#include <gtest/gtest.h>

#include <cmath>

#include "kernels/optimizer.h"
#include "optim/adamw.h"
#include "optim/clip.h"
#include "tests/support/tensors.h"

namespace strait::optim {
namespace {

using test::get;
using test::set;
using test::values;

/// A table of a decayed, an undecayed and an untrained parameter, and a context to update it in.
class Update : public testing::Test {
 protected:
  Update()
      : decayed_(table_.add({.name = "w", .shape = {2, 3}, .decay = true})),
        plain_(table_.add({.name = "b", .shape = {4}})),
        frozen_(table_.add({.name = "state", .shape = {2}, .trainable = false})) {
    table_.allocate(Device::cpu);
    table_.initialise(3, ctx_.stream);
    state_.take(DType::f64, {1});
    for (int i = 0; i < 3; ++i) state_.take(DType::f64, {1});
    state_.take(DType::f64, {4});
    state_.allocate(Device::cpu);
    one_ = state_.take(DType::f64, {1});
    rates_ = state_.take(DType::f64, {4});
    set(one_, 0, 1.0);
    for (std::int64_t i = 0; i < 6; ++i) set(decayed_.grad, i, 0.1 * static_cast<double>(i) - 0.2);
    for (std::int64_t i = 0; i < 4; ++i) set(plain_.grad, i, 0.3 - 0.1 * static_cast<double>(i));
  }

  double gradient_norm() const {
    return std::sqrt(test::dot(decayed_.grad, decayed_.grad) + test::dot(plain_.grad, plain_.grad));
  }

  core::ParamTable table_{DType::f64};
  core::Param& decayed_;
  core::Param& plain_;
  core::Param& frozen_;
  parallel::Groups groups_;
  core::Arena saved_{"saved"}, scratch_{"scratch"}, state_{"state"};
  parallel::Ctx ctx_{
      .stream = Stream{}, .groups = groups_, .saved = saved_, .scratch = scratch_, .state = state_};
  void step(const config::Optim& optim, double lr, std::int64_t number) {
    const auto rates = kernels::adam_rates(lr, optim.beta1, optim.beta2, number);
    for (std::int64_t i = 0; i < 4; ++i) set(rates_, i, rates[static_cast<std::size_t>(i)]);
    adamw_step(table_, optim, 1, rates_, one_, ctx_.stream);
  }

  Tensor one_, rates_;
};

TEST_F(Update, ClipMeasuresTheNormOfAllGradients) {
  const Clip clip = clip_gradients(table_, ctx_, 0.25);
  EXPECT_NEAR(get(clip.norm, 0), gradient_norm(), 1e-15);
  EXPECT_NEAR(get(clip.scale, 0), 0.25 / (gradient_norm() + 1e-6), 1e-15);
}

TEST_F(Update, ClipLeavesSmallGradientsAlone) {
  EXPECT_EQ(get(clip_gradients(table_, ctx_, 100.0).scale, 0), 1.0);
}

TEST_F(Update, NoClippingStillReportsTheNorm) {
  const Clip clip = clip_gradients(table_, ctx_, 0.0);
  EXPECT_EQ(get(clip.scale, 0), 1.0);
  EXPECT_NEAR(get(clip.norm, 0), gradient_norm(), 1e-15);
}

TEST_F(Update, ClipOfZeroGradientsIsFinite) {
  for (core::Param* param : {&decayed_, &plain_}) {
    for (std::int64_t i = 0; i < param->grad.numel(); ++i) set(param->grad, i, 0);
  }
  const Clip clip = clip_gradients(table_, ctx_, 1.0);
  EXPECT_EQ(get(clip.norm, 0), 0.0);
  EXPECT_EQ(get(clip.scale, 0), 1.0);
}

TEST_F(Update, AdamwFollowsItsFormulaAndTheDecayGroups) {
  config::Optim optim;
  optim.beta1 = 0.8;
  optim.beta2 = 0.9;
  optim.eps = 1e-3;
  optim.weight_decay = 0.5;
  const double lr = 0.01;
  const std::vector<double> frozen = values(frozen_.weight);
  std::vector<std::vector<double>> expected;
  for (core::Param* param : {&decayed_, &plain_}) {
    std::vector<double> w = values(param->weight), m(w.size()), v(w.size());
    const std::vector<double> g = values(param->grad);
    const double decay = param == &decayed_ ? 0.5 : 0.0;
    for (int t = 1; t <= 3; ++t) {
      for (std::size_t i = 0; i < w.size(); ++i) {
        m[i] = 0.8 * m[i] + (1 - 0.8) * g[i];
        v[i] = 0.9 * v[i] + (1 - 0.9) * g[i] * g[i];
        const double step =
            m[i] / (1 - std::pow(0.8, t)) / (std::sqrt(v[i] / (1 - std::pow(0.9, t))) + 1e-3);
        w[i] -= lr * (step + decay * w[i]);
      }
    }
    expected.push_back(w);
  }
  for (std::int64_t t = 1; t <= 3; ++t) step(optim, lr, t);
  EXPECT_LE(test::relative_l2(values(decayed_.weight), expected[0]), 1e-14);
  EXPECT_LE(test::relative_l2(values(plain_.weight), expected[1]), 1e-14);
  EXPECT_EQ(values(frozen_.weight), frozen);
}

TEST_F(Update, AdamwScalesEveryGradient) {
  set(one_, 0, 0.5);
  config::Optim optim;
  step(optim, 0.0, 1);
  for (const core::Param* param : {&decayed_, &plain_}) {
    for (std::int64_t i = 0; i < param->grad.numel(); ++i) {
      EXPECT_NEAR(get(param->adam_m, i), (1 - optim.beta1) * 0.5 * get(param->grad, i), 1e-16);
    }
  }
}

}  // namespace
}  // namespace strait::optim
