#include "model/counts.h"

#include <map>
#include <string>

#include "config/load.h"
#include "tests/model/model_run.h"

namespace strait::test {
namespace {

using config::AttentionKind;

constexpr AttentionKind kKinds[] = {AttentionKind::mha, AttentionKind::gqa, AttentionKind::mla,
                                    AttentionKind::cca, AttentionKind::ccgqa};

std::vector<config::Model> variants() {
  const config::Moe moe{.n_experts = 4, .top_k = 2, .d_expert = 5};
  std::vector<config::Model> models;
  for (const AttentionKind kind : kKinds) models.push_back(with_attention(kind));
  models.push_back(with_mla(3, 0));
  for (const std::int64_t convs : {0, 1}) {
    models.push_back(with_attention(AttentionKind::ccgqa));
    models.back().attention.cca.convs = convs;
    models.back().attention.cca.value_shift = false;
  }
  models.push_back(with_attention(AttentionKind::ccgqa));
  models.back().attention.cca.norm = false;
  models.push_back(with_attention(AttentionKind::cca));
  models.back().attention.cca.taps_depthwise = 3;
  models.back().attention.cca.taps_grouped = 4;
  models.push_back(with_attention(AttentionKind::gqa));
  models.back().attention.qk_norm = true;
  const std::size_t dense = models.size();
  for (std::size_t i = 0; i < dense; ++i) models.push_back(with_experts(models[i], moe));
  models.push_back(with_experts(with_attention(AttentionKind::mla), moe));
  models.back().n_layers = 5;
  models.back().ffn.moe.n_shared = 2;
  models.back().ffn.moe.first_dense = 1;
  models.back().ffn.moe.every = 2;
  models.back().ffn.moe.selection_bias = true;
  models.push_back(with_experts(with_attention(AttentionKind::ccgqa), moe));
  models.back().residual_scale = true;
  for (const bool average : {false, true}) {
    config::Moe own = moe;
    own.top_k = 1;
    own.skip = own.selection_bias = true;
    own.router = {.kind = config::RouterKind::mlp, .width = 6, .depth_average = average};
    models.push_back(with_experts(with_attention(AttentionKind::ccgqa), own));
    models.back().n_layers = 3;
  }
  const std::size_t untied = models.size();
  for (std::size_t i = 0; i < untied; ++i) {
    models.push_back(models[i]);
    models.back().tie_embeddings = true;
  }
  return models;
}

/// Elements of the parts of a model's table whose owner trains.
std::int64_t allocated(const config::Model& model) {
  const parallel::Mesh mesh;
  core::ParamTable table(DType::f32);
  const model::Transformer transformer({.model = model, .mesh = mesh, .table = table},
                                       config::Recompute::none);
  std::int64_t total = 0;
  for (const core::Part& part : table.parts()) {
    if (!part.param->spec.trainable) continue;
    std::int64_t n = 1;
    for (const std::int64_t size : part.global_shape) n *= size;
    total += n;
  }
  EXPECT_EQ(total, table.trainable_elements());
  return total;
}

TEST(Counts, ParametersAreWhatIsAllocated) {
  std::size_t i = 0;
  for (const config::Model& model : variants()) {
    EXPECT_EQ(model::count_model(model).parameters(), allocated(model)) << "variant " << i++;
  }
}

TEST(Counts, ActiveParametersLeaveOutUnchosenExperts) {
  for (const config::Model& model : variants()) {
    const model::ModelCounts counts = model::count_model(model);
    const config::Moe& moe = model.ffn.moe;
    std::int64_t layers = 0;
    for (std::int64_t l = 0; l < model.n_layers; ++l) {
      layers += config::ffn_kind(model.ffn, l) == config::FfnKind::moe;
    }
    EXPECT_EQ(counts.parameters() - counts.active(),
              layers * (moe.n_experts - moe.top_k) * 3 * model.d_model * moe.d_expert);
  }
}

/// Forward FLOPs of a step by what was launched: matrix products and convolutions, and apart from
/// them the attention core.
struct Launched {
  double products = 0, core = 0;
};

Launched forward_work(ModelRun& run) {
  train::WorkCounter counter;
  run.engine().ctx().stream.observer = &counter;
  run.objective();  // forward passes alone
  run.engine().ctx().stream.observer = nullptr;
  const auto flops = [&](const char* op) {
    const auto found = counter.ops().find(op);
    return found == counter.ops().end() ? 0.0 : found->second.work.flops;
  };
  return {flops("Gemm") + flops("GroupedGemm") + flops("RouteFwd") + flops("WideLinearFwd") +
              flops("CcaMixFwd"),
          flops("AttentionFwd")};
}

TEST(Counts, FlopsAreWhatAForwardLaunches) {
  const Documents documents = {{3, 1, 3}, {5, 2}};
  for (const config::Model& model : variants()) {
    ModelRun run(model, documents);
    const model::ModelCounts counts = model::count_model(model);
    const Launched work = forward_work(run);
    EXPECT_EQ(work.products, 14 * counts.flops_per_token());
    // A causal document of n tokens launches n (n + 1) / 2 pairs and counts n^2 / 2.
    const double pairs = (3 * 4 + 1 * 2 + 3 * 4 + 5 * 6 + 2 * 3) / 2;
    EXPECT_EQ(work.core, pairs * counts.core_flops_per_pair);
    EXPECT_EQ(counts.forward_flops(14, pairs), work.products + work.core);
  }
}

TEST(Counts, BackwardTakesTwiceTheProductsOfTheForward) {
  const Documents documents = {{3, 1, 3}, {5, 2}};
  for (const config::Model& model : variants()) {
    ModelRun run(model, documents);
    const double forward = forward_work(run).products;
    train::WorkCounter counter;
    run.engine().ctx().stream.observer = &counter;
    run.gradients();
    run.engine().ctx().stream.observer = nullptr;
    double products = 0;
    for (const char* op : {"Gemm", "GroupedGemm", "GroupedGemmWgrad", "RouteFwd", "WideLinearFwd",
                           "WideLinearBwd", "CcaMixFwd", "CcaMixBwd"}) {
      const auto found = counter.ops().find(op);
      if (found != counter.ops().end()) products += found->second.work.flops;
    }
    // The mix's backward repeats its convolutions; recomputation does not count as work.
    double repeated = 0;
    if (const auto mix = counter.ops().find("CcaMixBwd"); mix != counter.ops().end()) {
      repeated = mix->second.work.flops / 3;
    }
    EXPECT_EQ(products - repeated, 3 * forward);
  }
}

TEST(Counts, PairsOfMasks) {
  config::Model model;
  model.n_layers = 4;
  config::Attention& attention = model.attention;
  EXPECT_EQ(model::document_pairs(model, 6), 18);
  attention.window = 2;  // 1 + 5 * 2 pairs, the diagonal half
  EXPECT_EQ(model::document_pairs(model, 6), 11 - 3);
  attention.window = 100;
  EXPECT_EQ(model::document_pairs(model, 6), 18);
  attention.window = 0;
  attention.sliding = {.pattern = "sff", .window = 2};  // layers 0 and 3 of 4 slide
  EXPECT_EQ(model::document_pairs(model, 6), (18 + 8) / 2);
  attention.sliding = {};
  attention.causal = false;
  EXPECT_EQ(model::document_pairs(model, 6), 36);
}

TEST(Counts, CacheElementsPerToken) {
  const auto cache = [](const config::Model& model) {
    return model::count_model(model).cache_per_token;
  };
  EXPECT_EQ(cache(with_heads(AttentionKind::mha, 4, 4, 8)), 2 * 2 * 4 * 8);
  EXPECT_EQ(cache(with_heads(AttentionKind::gqa, 4, 2, 8)), 2 * 2 * 2 * 8);
  EXPECT_EQ(cache(with_heads(AttentionKind::ccgqa, 4, 2, 8)), 2 * 2 * 2 * 8);
  EXPECT_EQ(cache(with_mla(3, 4)), 2 * (5 + 2));
}

config::Config preset(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return config::load({.name = name, .overrides = overrides}, 1);
}

std::int64_t parameters(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return model::count_model(preset(name, overrides).model).parameters();
}

TEST(Counts, DensePresetsAtEqualFeedForward) {
  // Billions of parameters of the same models in PyTorch, to two digits.
  const std::map<std::string, double> expected = {{"dense_mha", 1.34},
                                                  {"dense_gqa", 1.19},
                                                  {"dense_mla", 1.24},
                                                  {"dense_ccgqa", 1.20},
                                                  {"dense_cca", 1.04}};
  for (const auto& [name, billions] : expected) {
    const auto count = static_cast<double>(parameters(name, {"model.ffn.d_ff=5632"}));
    EXPECT_NEAR(count * 1e-9, billions, 0.005) << name;
  }
}

TEST(Counts, DensePresetsMatchInParameters) {
  const auto mha = static_cast<double>(parameters("dense_mha"));
  for (const char* name : {"dense_gqa", "dense_mla", "dense_cca", "dense_ccgqa"}) {
    EXPECT_NEAR(static_cast<double>(parameters(name)) / mha, 1.0, 3e-3) << name;
  }
  // Where no exact match exists, the advantage is not with compressed convolutional attention.
  for (const char* name : {"dense_cca", "dense_ccgqa"}) {
    for (const char* other : {"dense_mha", "dense_gqa", "dense_mla"}) {
      EXPECT_LE(parameters(name), parameters(other)) << name << " beside " << other;
    }
  }
}

TEST(Counts, Zaya1) {
  const model::ModelCounts counts = model::count_model(preset("zaya1_8b").model);
  const auto all = static_cast<double>(counts.parameters());
  const double embedding = 262272.0 * 2048;
  EXPECT_NEAR(all * 1e-9, 8.840, 5e-4);
  EXPECT_NEAR((all - embedding) * 1e-9, 8.303, 5e-4);
  EXPECT_NEAR((static_cast<double>(counts.active()) - embedding) * 1e-9, 0.7536, 5e-5);
}

TEST(Counts, PaperMixture) {
  const model::ModelCounts counts = model::count_model(preset("ccgqa_moe").model);
  EXPECT_NEAR(static_cast<double>(counts.parameters()), 1.49e9, 5e6);
  EXPECT_NEAR(static_cast<double>(counts.active()), 0.34e9, 5e6);
}

}  // namespace
}  // namespace strait::test
