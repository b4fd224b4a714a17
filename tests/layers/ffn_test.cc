#include "layers/dense_ffn.h"

#include <cmath>

#include "tests/layers/layer_check.h"
#include "tests/layers/small_models.h"

namespace strait::test {
namespace {

using config::RouterScore;

const Documents kTwoSequences = {{3, 2, 2}, {6, 1}};

config::Moe four_experts() {
  return {.n_experts = 4, .top_k = 2, .d_expert = 5, .aux_coef = 0.7, .z_coef = 0.3};
}

void check_moe(const config::Moe& moe, const Documents& documents = kTwoSequences) {
  check_layer(with_experts(small_model(), moe), documents, [](const layers::Build& build) {
    return std::make_unique<layers::MoeFfn>(build, "ffn");
  });
}

TEST(DenseFfn, Gradients) {
  for (const std::int64_t width : {1, 7, 16}) {
    check_layer(small_model(), kTwoSequences, [&](const layers::Build& build) {
      return std::make_unique<layers::DenseFfn>(build, "ffn", width);
    });
  }
}

TEST(DenseFfn, OneToken) {
  check_layer(small_model(1), {{1}}, [](const layers::Build& build) {
    return std::make_unique<layers::DenseFfn>(build, "ffn", 3);
  });
}

config::Moe mlp_router() {
  return {.n_experts = 4,
          .d_expert = 5,
          .router = {.kind = config::RouterKind::mlp, .width = 6},
          .selection_bias = true,
          .z_coef = 0.3};
}

/// The plan checks every launch: a weight, logits or an input that is not f32 would be refused.
void routes_in_float(const config::Moe& moe) {
  const config::Model model = with_experts(small_model(), moe);
  Harness harness(model, kTwoSequences, DType::bf16);
  layers::MoeFfn ffn(harness.build(), "ffn");
  const auto run = [&] {
    layers::Ctx& ctx = harness.ctx();
    const core::Frame frame(ctx.saved);
    const auto take = [&] {
      return ctx.saved.take(DType::bf16, {harness.tokens(), model.d_model});
    };
    const Tensor x = take(), y = take(), dy = take(), dx = take();
    ffn.begin_step(ctx);
    ffn.forward(ctx, x, y);
    ffn.backward(ctx, dy, dx);
  };
  harness.allocate(run, Device::plan);
  for (const core::Param& param : harness.table().params()) {
    const bool router = param.spec.name.find("router") != std::string::npos;
    EXPECT_EQ(param.weight.dtype, router ? DType::f32 : DType::bf16) << param.spec.name;
  }
}

TEST(MoeFfn, RoutesInFloatBesideBf16) {
  for (const config::Moe& moe : {four_experts(), mlp_router()}) routes_in_float(moe);
}

TEST(MoeFfn, SoftmaxTopOne) {
  config::Moe moe = four_experts();
  moe.top_k = 1;
  check_moe(moe);
}

TEST(MoeFfn, SoftmaxTopTwo) {
  check_moe(four_experts());
}

TEST(MoeFfn, SoftmaxRenormalised) {
  config::Moe moe = four_experts();
  moe.renormalise = true;
  moe.scale = 1.7;
  check_moe(moe);
}

TEST(MoeFfn, EveryExpertOfEveryToken) {
  config::Moe moe = four_experts();
  moe.n_experts = moe.top_k = 3;
  check_moe(moe);
}

TEST(MoeFfn, OneExpert) {
  config::Moe moe = four_experts();
  moe.n_experts = moe.top_k = 1;
  check_moe(moe);
}

TEST(MoeFfn, Sigmoid) {
  config::Moe moe = four_experts();
  moe.score = RouterScore::sigmoid;
  check_moe(moe);
}

TEST(MoeFfn, SigmoidGroupsBiasAndShared) {
  const config::Moe moe{.n_experts = 6,
                        .top_k = 2,
                        .d_expert = 3,
                        .n_shared = 2,
                        .score = RouterScore::sigmoid,
                        .renormalise = true,
                        .groups = 3,
                        .top_groups = 2,
                        .scale = 2.5,
                        .selection_bias = true,
                        .aux_coef = 0.5,
                        .z_coef = 0.2};
  check_moe(moe);
}

TEST(MoeFfn, SharedExpertWithoutBalanceLosses) {
  config::Moe moe = four_experts();
  moe.n_shared = 1;
  moe.aux_coef = moe.z_coef = 0;
  check_moe(moe);
}

TEST(MoeFfn, MlpRouter) {
  check_moe(mlp_router());
  config::Moe moe = mlp_router();
  moe.top_k = 2;
  moe.aux_coef = 0.5;
  check_moe(moe);
  check_moe(mlp_router(), {{1}});
}

TEST(MoeFfn, TokensThatSkipAddNothing) {
  config::Moe moe = mlp_router();
  moe.skip = true;
  LayerCheck check(with_experts(small_model(), moe), kTwoSequences, [](const layers::Build& build) {
    return std::make_unique<layers::MoeFfn>(build, "ffn");
  });
  for (const core::Param& param : check.harness().table().params()) {
    if (param.spec.name != "ffn.router.bias") continue;
    ASSERT_EQ(param.weight.numel(), 4);  // the class that skips has none of its own
    for (std::int64_t e = 0; e < 4; ++e) set(param.weight, e, -1.0);
  }
  check.run();
  double chosen = 0, silent = 0;
  for (const double count : check.choices()) chosen += count;
  const std::int64_t width = check.y().shape[1];
  for (std::int64_t t = 0; t < 14; ++t) {
    double size = 0;
    for (std::int64_t i = 0; i < width; ++i) size += std::abs(get(check.y(), t * width + i));
    silent += size == 0;
  }
  EXPECT_GT(chosen, 0);
  EXPECT_GT(silent, 0);
  EXPECT_EQ(chosen + silent, 14);
}

TEST(MoeFfn, NoTokenSkipsAtFirst) {
  config::Moe moe = mlp_router();
  moe.skip = true;
  Harness harness(with_experts(small_model(), moe), kTwoSequences);
  layers::MoeFfn ffn(harness.build(), "ffn");
  Buffers buffers;
  const Tensor x = buffers.normal(DType::f64, {14, 9}), y = buffers.poisoned(DType::f64, {14, 9});
  const auto run = [&] {
    const core::Frame frame(harness.ctx().saved);
    ffn.begin_step(harness.ctx());
    ffn.forward(harness.ctx(), x, y);
  };
  harness.allocate(run);
  harness.ctx().state.release(0);
  for (const core::Param& param : harness.table().params()) {
    if (param.spec.name != "ffn.router.bias") continue;
    for (std::int64_t e = 0; e < 4; ++e) set(param.weight, e, 0);
  }
  run();
  double chosen = 0;
  for (const double count : values(ffn.router_totals().counts)) chosen += count;
  EXPECT_EQ(chosen, 14);
}

TEST(MoeFfn, OneToken) {
  check_moe(four_experts(), {{1}});
}

TEST(MoeFfn, SequencesOfOneToken) {
  check_moe(four_experts(), {{1}, {1}, {1}});
}

}  // namespace
}  // namespace strait::test
