#include "model/transformer.h"

#include <cmath>
#include <numeric>
#include <string>

#include "tests/model/model_run.h"

namespace strait::test {
namespace {

using config::AttentionKind;
using config::Recompute;

constexpr AttentionKind kKinds[] = {AttentionKind::mha, AttentionKind::gqa, AttentionKind::mla,
                                    AttentionKind::cca, AttentionKind::ccgqa};

const Documents kPacked = {{3, 1, 3}, {5, 2}};

const config::Moe kExperts{.n_experts = 4,
                           .top_k = 2,
                           .d_expert = 5,
                           .n_shared = 1,
                           .renormalise = true,
                           .selection_bias = true,
                           .bias_rate = 1e-3,
                           .aux_coef = 0.4,
                           .z_coef = 0.2};

config::Model variant(AttentionKind kind, bool moe) {
  const config::Model model = with_attention(kind);
  return moe ? with_experts(model, kExperts) : model;
}

void check_gradients(ModelRun& run) {
  run.gradients();
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.trainable) continue;
    const auto loss = [&] { return run.objective(); };
    EXPECT_LE(gradient_error(param.weight, param.grad, loss), kGradientTolerance)
        << param.spec.name;
  }
}

void check_gradients(const config::Model& model, const Documents& documents,
                     const RunOptions& options = {}) {
  ModelRun run(model, documents, options);
  check_gradients(run);
}

TEST(Transformer, GradientsOfDenseUntied) {
  check_gradients(variant(AttentionKind::gqa, false), kPacked);
}

TEST(Transformer, GradientsOfDenseTied) {
  config::Model model = variant(AttentionKind::mla, false);
  model.tie_embeddings = true;
  check_gradients(model, kPacked);
}

TEST(Transformer, GradientsOfMoeTied) {
  config::Model model = variant(AttentionKind::ccgqa, true);
  model.tie_embeddings = true;
  check_gradients(model, kPacked);
}

TEST(Transformer, GradientsOfMoeAfterADenseLayer) {
  config::Model model = variant(AttentionKind::cca, true);
  model.ffn.moe.first_dense = 1;
  check_gradients(model, kPacked, {.recompute = Recompute::block, .micro_batches = 2});
}

TEST(Transformer, GradientsOfScaledSumsAndSlidingLayers) {
  config::Model model = variant(AttentionKind::ccgqa, false);
  model.tie_embeddings = model.residual_scale = true;
  model.attention.sliding = {.pattern = "fs", .window = 2, .theta = 7.0};
  check_gradients(model, kPacked);
}

/// Makes some tokens skip: the experts' biases are nearly as low as the skipping class's.
constexpr double kLowBias = -0.9;
void lower_biases(ModelRun& run) {
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.name.ends_with("router.bias")) continue;
    for (std::int64_t e = 0; e < param.weight.numel(); ++e) set(param.weight, e, kLowBias);
  }
}

TEST(Transformer, GradientsOfZayaFlowThroughTheRouterStates) {
  for (const Recompute recompute : {Recompute::none, Recompute::block}) {
    ModelRun run(small_zaya(), kPacked, {.recompute = recompute});
    lower_biases(run);
    check_gradients(run);
    double chosen = 0;
    for (const layers::RouterTotals& layer : run.engine().model().router_totals()) {
      const std::vector<double> counts = values(layer.counts);
      const double own = std::accumulate(counts.begin(), counts.end(), 0.0);
      EXPECT_GT(own, 0) << "the router of a layer has no gradient";
      chosen += own;
    }
    EXPECT_LT(chosen, 3 * 14) << "no token skipped";
  }
}

TEST(Transformer, RecomputeKeepsEveryBitOfZaya) {
  for (const auto compute : {config::Compute::f64, config::Compute::f32}) {
    RunOptions options{.compute = compute, .micro_batches = 2};
    ModelRun kept(small_zaya(), kPacked, options);
    lower_biases(kept);
    const double loss = kept.gradients();
    for (const Recompute recompute : {Recompute::ffn, Recompute::block}) {
      options.recompute = recompute;
      ModelRun repeated(small_zaya(), kPacked, options);
      lower_biases(repeated);
      EXPECT_EQ(repeated.gradients(), loss);
      EXPECT_TRUE(repeated.gradient_bytes() == kept.gradient_bytes());
    }
  }
}

TEST(Transformer, BalancingLeavesTheSkippingClassAlone) {
  ModelRun run(small_zaya(), kPacked);
  lower_biases(run);
  run.step(1);
  for (const core::Param& param : run.table().params()) {
    if (!param.spec.name.ends_with("router.bias")) continue;
    ASSERT_EQ(param.weight.numel(), 4);
    double moved = 0;
    for (const double bias : values(param.weight)) {
      EXPECT_NEAR(bias, kLowBias, 1e-3 + 1e-9);
      moved += std::abs(bias - kLowBias);
    }
    EXPECT_GT(moved, 0) << param.spec.name;
  }
}

TEST(Transformer, GradientsOfOneTokenSequences) {
  check_gradients(variant(AttentionKind::mha, false), {{1}, {1}});
}

std::string name_of(AttentionKind kind, bool moe) {
  return "kind " + std::to_string(static_cast<int>(kind)) + (moe ? ", experts" : ", dense");
}

TEST(Transformer, RecomputeKeepsEveryBit) {
  for (const auto compute : {config::Compute::f64, config::Compute::f32}) {
    for (const AttentionKind kind : kKinds) {
      for (const bool moe : {false, true}) {
        SCOPED_TRACE(name_of(kind, moe));
        RunOptions options{.compute = compute, .micro_batches = 2};
        ModelRun kept(variant(kind, moe), kPacked, options);
        const double loss = kept.gradients();
        EXPECT_GT(loss, 0);
        for (const Recompute recompute : {Recompute::ffn, Recompute::block}) {
          options.recompute = recompute;
          ModelRun repeated(variant(kind, moe), kPacked, options);
          EXPECT_EQ(repeated.gradients(), loss);
          EXPECT_TRUE(repeated.gradient_bytes() == kept.gradient_bytes());
        }
      }
    }
  }
}

TEST(Transformer, RecomputeCountsChoicesOnce) {
  ModelRun kept(variant(AttentionKind::gqa, true), kPacked);
  ModelRun repeated(variant(AttentionKind::gqa, true), kPacked, {.recompute = Recompute::block});
  kept.gradients();
  repeated.gradients();
  const auto want = kept.engine().model().router_totals();
  const auto got = repeated.engine().model().router_totals();
  ASSERT_EQ(want.size(), 2u);
  ASSERT_EQ(got.size(), 2u);
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(values(want[i].counts), values(got[i].counts));
    EXPECT_EQ(get(want[i].aux, 0), get(got[i].aux, 0));
    EXPECT_EQ(get(want[i].z, 0), get(got[i].z, 0));
    double choices = 0;
    for (const double count : values(want[i].counts)) choices += count;
    EXPECT_EQ(choices, 14 * 2);
  }
}

TEST(Transformer, RecomputeSavesActivations) {
  const Documents documents = {{16}, {16}};
  config::Model model = variant(AttentionKind::gqa, false);
  model.n_layers = 6;
  const auto activations = [&](Recompute recompute) {
    return ModelRun(model, documents, {.recompute = recompute}).engine().arenas().at(0)->peak();
  };
  EXPECT_LT(activations(Recompute::ffn), activations(Recompute::none));
  EXPECT_LT(activations(Recompute::block), activations(Recompute::ffn));
}

TEST(Transformer, EvaluationSeesTheTrainingLoss) {
  for (const bool moe : {false, true}) {
    ModelRun run(variant(AttentionKind::ccgqa, moe), kPacked);
    const double loss = run.gradients();
    run.objective();
    EXPECT_EQ(get(run.engine().model().loss_sum(), 0), loss);
  }
}

TEST(Transformer, LogitsGiveTheLoss) {
  ModelRun run(variant(AttentionKind::cca, false), kPacked);
  parallel::Ctx& ctx = run.engine().ctx();
  run.objective();
  const double loss = get(run.engine().model().loss_sum(), 0);
  const std::int64_t tokens = ctx.tokens->tokens(), vocab = run.engine().config().model.vocab_size;
  Buffers buffers;
  const Tensor logits = buffers.poisoned(DType::f64, {tokens, vocab});
  run.engine().model().logits(ctx, 0, logits);
  double expected = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const double label = get(ctx.tokens->labels, t);
    if (label < 0) continue;
    double sum = 0;
    for (std::int64_t i = 0; i < vocab; ++i) sum += std::exp(get(logits, t * vocab + i));
    expected += std::log(sum) - get(logits, t * vocab + static_cast<std::int64_t>(label));
  }
  EXPECT_NEAR(loss, expected, 1e-12 * expected);
  const Tensor last = buffers.poisoned(DType::f64, {2, vocab});
  run.engine().model().logits(ctx, tokens - 2, last);
  EXPECT_LE(relative_l2(last, logits.slice(0, tokens - 2, 2)), 1e-14);
}

TEST(Transformer, DocumentsDoNotSeeEachOther) {
  for (const AttentionKind kind : kKinds) {
    SCOPED_TRACE(name_of(kind, false));
    Buffers buffers;
    const auto logits_of = [&](const Documents& documents, std::int64_t first) {
      ModelRun run(variant(kind, false), documents);
      const Tensor logits = buffers.poisoned(DType::f64, {4, 11});
      run.engine().model().logits(run.engine().ctx(), first, logits);
      return logits;
    };
    // The tokens at rows 3..6 are the same; what stands before them differs in length only.
    EXPECT_LE(relative_l2(logits_of({{3, 4}}, 3), logits_of({{1, 2, 4}}, 3)), 1e-14);
    EXPECT_GT(relative_l2(logits_of({{3, 4}}, 3), logits_of({{7}}, 3)), 1e-3);
  }
}

}  // namespace
}  // namespace strait::test
