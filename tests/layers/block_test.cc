#include "layers/block.h"
#include "kernels/launch.h"
#include "kernels/permute.h"

#include "tests/layers/harness.h"
#include "tests/layers/small_models.h"

namespace strait::test {
namespace {

using config::AttentionKind;
using config::Recompute;

const Documents kPacked = {{3, 1, 3}, {5, 2}};

/// One block with residual input h + delta and loss = sum((h' + delta') * probe) plus the balance
/// losses of its router.
class BlockCheck {
 public:
  BlockCheck(const config::Model& model, Recompute recompute, bool first)
      : model_(model), harness_(model, kPacked), block_(harness_.build(), 0, recompute) {
    const std::int64_t T = harness_.tokens(), D = model.d_model;
    h_ = buffers_.normal(DType::f64, {T, D});
    if (!first) delta_ = buffers_.normal(DType::f64, {T, D});
    probe_ = buffers_.normal(DType::f64, {T, D});
    delta_out_ = buffers_.poisoned(DType::f64, {T, D});
    branch_ = buffers_.poisoned(DType::f64, {T, D});
    carry_ = buffers_.poisoned(DType::f64, {T, D});
    d_ = buffers_.poisoned(DType::f64, {T, D});
    harness_.allocate([&] { step(); });
  }

  void run() {
    harness_.clear_gradients();
    step();
    const auto loss = [&] { return this->loss(); };
    EXPECT_LE(gradient_error(h_, d_, loss), kGradientTolerance) << "h";
    if (delta_.defined()) {
      EXPECT_LE(gradient_error(delta_, d_, loss), kGradientTolerance) << "delta";
    }
    harness_.expect_parameter_gradients(loss);
  }

  /// The block's residual: h', then delta'.
  std::vector<double> output() {
    const core::Frame saved(harness_.ctx().saved);
    const layers::Residual out = forward();
    std::vector<double> all = values(out.h);
    const std::vector<double> delta = values(branch(out));
    all.insert(all.end(), delta.begin(), delta.end());
    return all;
  }

  /// An evaluation frees all that it took: what it hands on must be in the caller's memory.
  void expect_evaluation_outlives_its_memory() {
    layers::Ctx& ctx = harness_.ctx();
    const std::size_t before = ctx.saved.mark();
    ctx.pass = layers::Pass::eval;
    const layers::Residual out = forward();
    ctx.pass = layers::Pass::train;
    EXPECT_EQ(ctx.saved.mark(), before);
    EXPECT_EQ(out.h.data, carry_.data);
    EXPECT_EQ(out.delta.data, delta_out_.data);
    EXPECT_FALSE(out.experts.rows.defined());
  }

 private:
  layers::Residual forward() {
    harness_.ctx().state.release(0);
    block_.begin_step(harness_.ctx());
    return block_.forward(harness_.ctx(), {h_, delta_}, delta_out_, carry_);
  }

  void step() {
    layers::Ctx& ctx = harness_.ctx();
    const core::Frame saved(ctx.saved);
    forward();
    for (std::int64_t i = 0; i < d_.numel(); ++i) set(d_, i, get(probe_, i));
    block_.backward(ctx, d_);
  }

  double loss() {
    const core::Frame saved(harness_.ctx().saved);
    const layers::Residual out = forward();
    double total = 0;
    const Tensor delta = branch(out);
    for (std::int64_t i = 0; i < probe_.numel(); ++i) {
      total += get(probe_, i) * sum(out, delta, i);
    }
    if (block_.moe()) {
      const layers::RouterTotals& totals = block_.moe()->router_totals();
      const parallel::LossScale& scale = harness_.ctx().scale;
      total += model_.ffn.moe.aux_coef * scale.per_sequence * get(totals.aux, 0);
      total += model_.ffn.moe.z_coef * harness_.per_token() * get(totals.z, 0);
    }
    return total;
  }

  /// What the second branch adds: its delta and rows of experts.
  Tensor branch(const layers::Residual& out) {
    const kernels::ExpertRows& experts = out.experts;
    if (!experts.rows.defined()) return out.delta;
    kernels::launch(kernels::MoeCombineFwd{.x = experts.rows,
                                           .row_of = experts.row_of,
                                           .weight = experts.weight,
                                           .base = out.delta,
                                           .y = branch_},
                    Stream{});
    return branch_;
  }

  /// Element i of what the next norm makes of the block's output.
  static double sum(const layers::Residual& out, const Tensor& delta, std::int64_t i) {
    const kernels::SumScales& scales = out.scales;
    if (!scales.x_scale.defined()) return get(out.h, i) + get(delta, i);
    const std::int64_t c = i % out.h.shape[1];
    return (get(delta, i) + get(scales.delta_bias, c)) * get(scales.delta_scale, c) +
           (get(out.h, i) + get(scales.x_bias, c)) * get(scales.x_scale, c);
  }

  config::Model model_;
  Harness harness_;
  layers::Block block_;
  Buffers buffers_;
  Tensor h_, delta_, probe_, delta_out_, branch_, carry_, d_;
};

const config::Moe kExperts{.n_experts = 4,
                           .top_k = 2,
                           .d_expert = 5,
                           .n_shared = 1,
                           .renormalise = true,
                           .aux_coef = 0.6,
                           .z_coef = 0.2};

TEST(Block, DenseGradientsUnderEveryRecomputePolicy) {
  for (const Recompute recompute : {Recompute::none, Recompute::ffn, Recompute::block}) {
    SCOPED_TRACE(static_cast<int>(recompute));
    BlockCheck(with_attention(AttentionKind::gqa), recompute, false).run();
  }
}

TEST(Block, MoeGradientsUnderEveryRecomputePolicy) {
  for (const Recompute recompute : {Recompute::none, Recompute::ffn, Recompute::block}) {
    SCOPED_TRACE(static_cast<int>(recompute));
    BlockCheck(with_experts(with_attention(AttentionKind::ccgqa), kExperts), recompute, false)
        .run();
  }
}

TEST(Block, FirstBlockHasNoDelta) {
  for (const Recompute recompute : {Recompute::none, Recompute::ffn, Recompute::block}) {
    SCOPED_TRACE(static_cast<int>(recompute));
    BlockCheck(with_attention(AttentionKind::mha), recompute, true).run();
  }
}

TEST(Block, ScaledSumsUnderEveryRecomputePolicy) {
  for (const Recompute recompute : {Recompute::none, Recompute::ffn, Recompute::block}) {
    for (const bool moe : {false, true}) {
      SCOPED_TRACE(static_cast<int>(recompute));
      config::Model model = with_attention(moe ? AttentionKind::ccgqa : AttentionKind::gqa);
      model.residual_scale = true;
      BlockCheck(moe ? with_experts(model, kExperts) : model, recompute, true).run();
    }
  }
}

TEST(Block, EvaluationOutlivesItsMemory) {
  for (const Recompute recompute : {Recompute::none, Recompute::ffn, Recompute::block}) {
    for (const bool moe : {false, true}) {
      for (const bool scaled : {false, true}) {
        SCOPED_TRACE(testing::Message() << static_cast<int>(recompute) << moe << scaled);
        config::Model model = with_attention(AttentionKind::gqa);
        model.residual_scale = scaled;
        BlockCheck(moe ? with_experts(model, kExperts) : model, recompute, false)
            .expect_evaluation_outlives_its_memory();
      }
    }
  }
}

TEST(Block, SlidingLayersSeeTheirWindowAndRotateByTheirTheta) {
  for (const AttentionKind kind : {AttentionKind::gqa, AttentionKind::mla, AttentionKind::ccgqa}) {
    config::Model model = with_attention(kind), plain = model;
    model.attention.sliding = {.pattern = "s", .window = 2, .theta = 7.0};
    BlockCheck(model, Recompute::none, false).run();
    plain.attention.window = 2;
    plain.attention.rope.theta = 7.0;
    EXPECT_EQ(BlockCheck(model, Recompute::none, false).output(),
              BlockCheck(plain, Recompute::none, false).output());
    plain.attention.window = 3;
    EXPECT_NE(BlockCheck(model, Recompute::none, false).output(),
              BlockCheck(plain, Recompute::none, false).output());
  }
}

TEST(Block, LayerPatternChoosesTheFeedForward) {
  config::Moe moe = kExperts;
  moe.first_dense = 1;
  Harness harness(with_experts(with_attention(AttentionKind::mha), moe), kPacked);
  const layers::Block dense(harness.build(), 0, Recompute::none);
  const layers::Block experts(harness.build(), 1, Recompute::none);
  EXPECT_EQ(dense.moe(), nullptr);
  EXPECT_NE(experts.moe(), nullptr);
}

}  // namespace
}  // namespace strait::test
