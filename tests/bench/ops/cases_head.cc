#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

/// Token ids as text has them: the k-th most frequent id comes 1/k as often as the first.
std::vector<std::int32_t> text_ids(std::int64_t count) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (auto& id : ids) {
    const double rank = std::exp(uniform(random) * std::log(static_cast<double>(kVocab)));
    id = std::min<std::int32_t>(static_cast<std::int32_t>(rank), kVocab) - 1;
  }
  return ids;
}

void add_embeddings(std::vector<Case>& cases) {
  const std::vector<std::int32_t> ids = text_ids(kTokens);
  const auto distinct = static_cast<double>(std::set(ids.begin(), ids.end()).size());
  const double activations = static_cast<double>(kTokens * (kWidth * 2 + 4));
  Case forward = op_case("EmbeddingFwd", "16384 ids of text, 2048", [ids](Pool& pool) {
    return kernels::EmbeddingFwd{.ids = pool.ints(ids, {kTokens}),
                                 .w = pool.normal(kBf16, {kVocab, kWidth}),
                                 .y = pool.raw(kBf16, {kTokens, kWidth})};
  });
  forward.bytes = activations + distinct * kWidth * 2;
  cases.push_back(std::move(forward));
  Case backward = op_case("EmbeddingBwd", "16384 ids of text, 2048, dw f32", [ids](Pool& pool) {
    return kernels::EmbeddingBwd{.ids = pool.ints(ids, {kTokens}),
                                 .dy = pool.normal(kBf16, {kTokens, kWidth}),
                                 .dw = pool.normal(kF32, {kVocab, kWidth})};
  });
  backward.bytes = activations + distinct * kWidth * 2 * 4;
  cases.push_back(std::move(backward));
}

void add_cross_entropy(std::vector<Case>& cases, std::int64_t rows) {
  const std::string shape = std::to_string(rows) + " x 50304";
  const auto labels = [rows](Pool& pool) { return pool.ints(text_ids(rows), {rows}); };
  const auto logits = [rows](Pool& pool) { return pool.normal(kBf16, {rows, kVocab}); };
  cases.push_back(op_case("CrossEntropyStats", shape, [=](Pool& pool) {
    return kernels::CrossEntropyStats{
        .logits = logits(pool), .labels = labels(pool), .stats = pool.constant(kF32, {rows, 3}, 0)};
  }));
  cases.push_back(op_case("CrossEntropyLoss", shape, [=](Pool& pool) {
    return kernels::CrossEntropyLoss{.stats = pool.constant(kF32, {rows, 3}, 1),
                                     .labels = labels(pool),
                                     .lse = pool.raw(kF32, {rows}),
                                     .loss_sum = pool.constant(DType::f64, {1}, 0)};
  }));
  cases.push_back(op_case("CrossEntropyRows", shape, [=](Pool& pool) {
    return kernels::CrossEntropyRows{.logits = logits(pool),
                                     .labels = labels(pool),
                                     .loss_sum = pool.constant(DType::f64, {1}, 0)};
  }));
  cases.push_back(op_case("CrossEntropyBwd in place", shape, [=](Pool& pool) {
    const Tensor both = logits(pool);
    return kernels::CrossEntropyBwd{.logits = both,
                                    .labels = labels(pool),
                                    .lse = pool.constant(kF32, {rows}, 11),
                                    .dlogits = both};
  }));
}

}  // namespace

std::vector<Case> head_cases() {
  std::vector<Case> cases;
  add_embeddings(cases);
  for (const std::int64_t rows : {667, 4096, 16384}) add_cross_entropy(cases, rows);
  return cases;
}

}  // namespace strait::bench
