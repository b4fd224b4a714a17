#include "model/lm_head.h"

#include "tests/layers/harness.h"
#include "tests/layers/small_models.h"

namespace strait::test {
namespace {

constexpr std::int64_t kVocab = 11, kWidth = 9;
const Documents kDocuments = {{3, 1, 3}, {5, 2}};

/// Results of the head on fixed inputs when a chunk may hold `logits_elements` logits.
struct HeadResult {
  Tensor loss, per_token, dx, dw;
  std::int64_t rows = 0;
};

HeadResult run_head(Buffers& out, std::int64_t logits_elements, bool tied) {
  config::Model model = small_model(kWidth);
  model.tie_embeddings = tied;
  Harness harness(model, kDocuments);
  core::Param& embedding = harness.table().add(
      {.name = "embed.weight", .shape = {kVocab, kWidth}, .init = core::Init::normal(0.5)});
  const model::LmHead head(harness.build(), embedding, logits_elements);
  Buffers inputs;
  const std::int64_t tokens = harness.tokens();
  const Tensor x = inputs.normal(DType::f64, {tokens, kWidth});
  HeadResult result{.loss = out.zeros(DType::f64, {1}),
                    .per_token = out.poisoned(DType::f64, {tokens}),
                    .dx = out.poisoned(DType::f64, {tokens, kWidth}),
                    .dw = {},
                    .rows = head.chunk_rows(tokens)};
  const auto run = [&] {
    head.loss_and_gradient(harness.ctx(), x, {.sum = result.loss, .per_token = result.per_token},
                           result.dx);
  };
  harness.allocate(run);
  run();
  result.dw = out.converted(harness.table().params().back().grad, DType::f64);
  return result;
}

TEST(LmHead, ChunksGiveWhatOneChunkGives) {
  for (const bool tied : {false, true}) {
    Buffers buffers;
    const HeadResult whole = run_head(buffers, model::LmHead::kLogitsElements, tied);
    ASSERT_EQ(whole.rows, 14);
    for (const std::int64_t rows : {1, 3, 7, 13}) {
      const HeadResult cut = run_head(buffers, rows * kVocab + 1, tied);
      ASSERT_EQ(cut.rows, rows);
      EXPECT_LE(relative_l2(cut.loss, whole.loss), 1e-14);
      EXPECT_LE(relative_l2(cut.per_token, whole.per_token), 1e-14);
      EXPECT_LE(relative_l2(cut.dx, whole.dx), 1e-14);
      EXPECT_LE(relative_l2(cut.dw, whole.dw), 1e-14);
    }
  }
}

TEST(LmHead, AChunkHoldsOneTokenAtLeast) {
  Buffers buffers;
  EXPECT_EQ(run_head(buffers, 1, true).rows, 1);
}

TEST(LmHead, IgnoredLabelsCountForNothing) {
  Buffers buffers;
  const HeadResult result = run_head(buffers, model::LmHead::kLogitsElements, true);
  for (const std::int64_t token : {3, 8, 13}) {  // the harness ignores every fifth label
    EXPECT_EQ(get(result.per_token, token), 0);
    for (std::int64_t i = 0; i < kWidth; ++i) EXPECT_EQ(get(result.dx, token * kWidth + i), 0);
  }
  double sum = 0;
  for (std::int64_t t = 0; t < 14; ++t) sum += get(result.per_token, t);
  EXPECT_NEAR(get(result.loss, 0), sum, 1e-13 * sum);
}

TEST(LmHead, TyingRegistersNoWeight) {
  for (const bool tied : {false, true}) {
    config::Model model = small_model();
    model.tie_embeddings = tied;
    Harness harness(model, kDocuments);
    core::Param& embedding =
        harness.table().add({.name = "embed.weight", .shape = {kVocab, kWidth}});
    const model::LmHead head(harness.build(), embedding);
    EXPECT_EQ(harness.table().params().size(), tied ? 1u : 2u);
  }
}

}  // namespace
}  // namespace strait::test
