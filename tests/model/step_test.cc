#include <cmath>

#include "tests/model/model_run.h"

namespace strait::test {
namespace {

using config::AttentionKind;

const Documents kPacked = {{3, 1, 3}, {5, 2}};

config::Model mixture() {
  return with_experts(with_attention(AttentionKind::ccgqa), {.n_experts = 4,
                                                             .top_k = 2,
                                                             .d_expert = 5,
                                                             .selection_bias = true,
                                                             .bias_rate = 1e-2,
                                                             .aux_coef = 0.1});
}

TEST(TrainingStep, SameStepsTwiceAreBitEqual) {
  const RunOptions options{.compute = config::Compute::f32, .micro_batches = 2};
  ModelRun a(mixture(), kPacked, options), b(mixture(), kPacked, options);
  const std::vector<char> before = a.weight_bytes();
  for (std::int64_t step = 1; step <= 3; ++step) {
    const double loss_a = get(a.step(step).loss_sum, 0);
    EXPECT_EQ(loss_a, get(b.step(step).loss_sum, 0));
  }
  EXPECT_TRUE(a.weight_bytes() == b.weight_bytes());
  EXPECT_FALSE(a.weight_bytes() == before);
}

TEST(TrainingStep, BalancesByTheRuleOfTheConfig) {
  config::Model by_adamw = mixture();
  by_adamw.ffn.moe.bias_rule = config::BiasRule::adamw;
  ModelRun run(by_adamw, kPacked);
  int states = 0;
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.name.ends_with("router.bias_state")) continue;
    ++states;
    for (std::int64_t i = 0; i < param.weight.numel(); ++i) set(param.weight, i, 0);
  }
  EXPECT_GT(states, 0);
  run.step(1);
  run.step(2);
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.name.ends_with("router.bias_state")) continue;
    EXPECT_EQ(get(param.weight, 2 * 4), 2) << "updates of " << param.spec.name;
    for (std::int64_t e = 0; e < 4; ++e) EXPECT_GE(get(param.weight, 4 + e), 0) << "squares";
  }
}

TEST(TrainingStep, LeavesNothingOfAnEarlierStepsGradients) {
  const RunOptions options{.compute = config::Compute::f32, .micro_batches = 2};
  ModelRun clean(mixture(), kPacked, options), poisoned(mixture(), kPacked, options);
  const Tensor flat = poisoned.table().flat().grad;
  for (std::int64_t i = 0; i < flat.numel(); ++i) set(flat, i, std::nan(""));
  clean.step(1);
  poisoned.step(1);
  for (const core::Param* param : clean.table().in_memory_order()) {
    for (const core::Param* other : poisoned.table().in_memory_order()) {
      if (other->spec.name != param->spec.name) continue;
      EXPECT_EQ(values(other->grad), values(param->grad)) << param->spec.name;
    }
  }
}

TEST(TrainingStep, LowersTheLossOnItsOwnBatch) {
  ModelRun run(mixture(), kPacked);
  run.gradients();
  const double before = run.objective();
  run.gradients();
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.trainable) continue;
    for (std::int64_t i = 0; i < param.weight.numel(); ++i) {
      set(param.weight, i, get(param.weight, i) - 1e-3 * get(param.grad, i));
    }
  }
  EXPECT_LT(run.objective(), before);
}

TEST(TrainingStep, ArenasKeepTheirSizeAndAddresses) {
  ModelRun run(mixture(), kPacked, {.micro_batches = 2});
  const auto peaks = [&] {
    std::vector<std::size_t> sizes;
    for (const core::Arena* arena : run.engine().arenas()) sizes.push_back(arena->peak());
    return sizes;
  };
  const std::vector<std::size_t> planned = peaks();
  const train::StepOutput first = run.step(1);
  const train::StepOutput second = run.step(2);
  EXPECT_EQ(peaks(), planned);
  EXPECT_EQ(first.loss_sum.data, second.loss_sum.data);
  EXPECT_EQ(first.clip.norm.data, second.clip.norm.data);
  EXPECT_EQ(first.clip.scale.data, second.clip.scale.data);
  const auto arenas = run.engine().arenas();
  EXPECT_EQ(arenas[0]->mark(), 0u) << "activations were not released";
  EXPECT_EQ(arenas[1]->mark(), 0u) << "scratch was not released";
}

TEST(TrainingStep, PlanHoldsWhatTheStepLaunches) {
  ModelRun run(mixture(), kPacked, {.micro_batches = 2});
  train::WorkCounter counter;
  run.engine().ctx().stream.observer = &counter;
  run.step(1);
  run.engine().ctx().stream.observer = nullptr;
  ASSERT_EQ(counter.ops().size(), run.plan().ops.size());
  for (const auto& [op, count] : counter.ops()) {
    EXPECT_EQ(count.launches, run.plan().ops.at(op).launches) << op;
  }
}

}  // namespace
}  // namespace strait::test
