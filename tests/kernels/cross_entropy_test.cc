#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

Tensor fresh_stats(Buffers& b, DType dtype, std::int64_t rows) {
  const Tensor stats = b.zeros(dtype, {rows, 3});
  for (std::int64_t n = 0; n < rows; ++n) {
    set(stats, 3 * n, -std::numeric_limits<double>::infinity());
  }
  return stats;
}

struct Result {
  Tensor lse, loss, sum;
};

/// Statistics over vocabulary blocks cut at `cuts`, then the loss.
Result cross_entropy(Buffers& b, const Tensor& logits, const Tensor& labels,
                     const std::vector<std::int64_t>& cuts) {
  const std::int64_t rows = logits.shape[0];
  const Tensor stats = fresh_stats(b, logits.dtype, rows);
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    run(CrossEntropyStats{.logits = logits.slice(1, cuts[i], cuts[i + 1] - cuts[i]),
                          .labels = labels,
                          .stats = stats,
                          .vocab_begin = cuts[i]});
  }
  const Result out{b.poisoned(logits.dtype, {rows}), b.poisoned(logits.dtype, {rows}),
                   b.zeros(DType::f64, {1})};
  run(CrossEntropyLoss{
      .stats = stats, .labels = labels, .lse = out.lse, .loss = out.loss, .loss_sum = out.sum});
  return out;
}

Result cross_entropy(Buffers& b, const Tensor& logits, const Tensor& labels) {
  return cross_entropy(b, logits, labels, {0, logits.shape[1]});
}

double reference_loss(const Tensor& logits, std::int64_t row, std::int32_t label) {
  const std::int64_t vocab = logits.shape[1];
  double sum = 0;
  for (std::int64_t i = 0; i < vocab; ++i) sum += std::exp(get(logits, row * vocab + i));
  return std::log(sum) - get(logits, row * vocab + label);
}

TEST(CrossEntropy, MatchesFormulaAndSkipsIgnored) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    const std::vector<std::int32_t> labels = {0, 12, kIgnoreLabel, 5};
    const Tensor logits = strided_normal(b, dtype, 4, 13);
    const Result r = cross_entropy(b, logits, b.ints(labels, {4}));
    double total = 0;
    for (std::int64_t n = 0; n < 4; ++n) {
      const double want = n == 2 ? 0.0 : reference_loss(logits, n, labels[n]);
      EXPECT_NEAR(get(r.loss, n), want, dtype == DType::f64 ? 1e-14 : 1e-6);
      EXPECT_NEAR(get(r.lse, n), reference_loss(logits, n, 0) + get(logits, n * 13),
                  dtype == DType::f64 ? 1e-14 : 1e-6);
      total += want;
    }
    EXPECT_NEAR(get(r.sum, 0), total, dtype == DType::f64 ? 1e-13 : 1e-5);
  }
}

TEST(CrossEntropy, LossSumAccumulatesAndLossMayBeAbsent) {
  Buffers b;
  const Tensor logits = b.normal(DType::f64, {2, 5}), labels = b.ints({1, 3}, {2}),
               stats = fresh_stats(b, DType::f64, 2), sum = b.zeros(DType::f64, {1});
  run(CrossEntropyStats{.logits = logits, .labels = labels, .stats = stats});
  const CrossEntropyLoss op{
      .stats = stats, .labels = labels, .lse = b.poisoned(DType::f64, {2}), .loss_sum = sum};
  run(op);
  const double once = get(sum, 0);
  run(op);
  EXPECT_GT(once, 0.0);
  EXPECT_EQ(get(sum, 0), 2 * once);
}

TEST(CrossEntropy, VocabularyBlocksMergeToTheWhole) {
  Buffers b;
  const Tensor labels = b.ints({0, 1100, 699, 700, kIgnoreLabel}, {5});
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor logits = b.normal(dtype, {5, 1101}, 3.0);
    const Result one = cross_entropy(b, logits, labels),
                 many = cross_entropy(b, logits, labels, {0, 1, 700, 700, 1100, 1101});
    const double tolerance = dtype == DType::f64 ? 1e-15 : 3e-7;
    EXPECT_LE(relative_l2(many.lse, one.lse), tolerance);
    EXPECT_LE(relative_l2(many.loss, one.loss), tolerance);
  }
}

TEST(CrossEntropy, HugeLogitsAndMaskedColumnsStayFinite) {
  Buffers b;
  const double inf = std::numeric_limits<double>::infinity();
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor logits = b.zeros(dtype, {4, 3}), labels = b.ints({0, 1, 2, 0}, {4});
    const double rows[] = {1e4, -1e4, 0, 1e4, 1e4, -1e4, -1e4, -1e4, -1e4, 5, -inf, -inf};
    for (std::int64_t i = 0; i < 12; ++i) set(logits, i, rows[i]);
    for (const auto& cuts : {std::vector<std::int64_t>{0, 3}, {0, 1, 2, 3}}) {
      const Result r = cross_entropy(b, logits, labels, cuts);
      EXPECT_EQ(get(r.loss, 0), 0.0);
      EXPECT_NEAR(get(r.loss, 1), std::log(2.0), 1e-6);
      EXPECT_NEAR(get(r.loss, 2), std::log(3.0), 1e-6);
      EXPECT_EQ(get(r.loss, 3), 0.0);
    }
    // A first block of nothing but -inf, as a masked shard may be.
    Tensor reversed = b.zeros(dtype, {1, 3});
    for (std::int64_t i = 0; i < 3; ++i) set(reversed, i, i < 2 ? -inf : 5.0);
    EXPECT_EQ(get(cross_entropy(b, reversed, b.ints({2}, {1}), {0, 2, 3}).loss, 0), 0.0);
    const Result r = cross_entropy(b, logits, labels);
    const Tensor d = b.poisoned(dtype, {4, 3});
    run(CrossEntropyBwd{.logits = logits, .labels = labels, .lse = r.lse, .dlogits = d});
    EXPECT_EQ(get(d, 0), 0.0);
    EXPECT_NEAR(get(d, 3), 0.5, dtype == DType::f64 ? 1e-11 : 1e-3);  // lse near 1e4 is rounded
    EXPECT_NEAR(get(d, 8), 1.0 / 3 - 1, dtype == DType::f64 ? 1e-11 : 1e-3);
  }
}

TEST(CrossEntropy, Gradients) {
  Buffers b;
  const Tensor scale = b.zeros(DType::f64, {1});
  set(scale, 0, 0.25);
  for (auto [rows, vocab] : {std::pair<std::int64_t, std::int64_t>{3, 7}, {1, 5}, {2, 1}}) {
    std::vector<std::int32_t> ids(rows, static_cast<std::int32_t>(vocab - 1));
    if (rows > 1) ids[1] = kIgnoreLabel;
    const Tensor logits = strided_normal(b, DType::f64, rows, vocab), labels = b.ints(ids, {rows}),
                 d = strided_poisoned(b, DType::f64, rows, vocab);
    auto loss = [&] { return 0.25 * get(cross_entropy(b, logits, labels).sum, 0); };
    const Result r = cross_entropy(b, logits, labels);
    // Two vocabulary blocks: each needs the merged lse only.
    for (std::int64_t begin : {std::int64_t{0}, vocab / 2}) {
      const std::int64_t length = begin ? vocab - begin : vocab / 2 ? vocab / 2 : vocab;
      run(CrossEntropyBwd{.logits = logits.slice(1, begin, length),
                          .labels = labels,
                          .lse = r.lse,
                          .dlogits = d.slice(1, begin, length),
                          .vocab_begin = begin,
                          .scale = scale});
    }
    if (vocab > 1) {
      EXPECT_LE(gradient_error(logits, d, loss), kGradientTolerance);
    } else {
      EXPECT_NEAR(get(d, 0), 0.0, 1e-15);  // one class: no loss, no gradient
    }
    if (rows > 1) {
      EXPECT_EQ(get(d, vocab), 0.0);
    }
    run(CrossEntropyBwd{
        .logits = logits, .labels = labels, .lse = r.lse, .dlogits = logits, .scale = scale});
    EXPECT_EQ(values(logits), values(d));
  }
}

TEST(CrossEntropy, RowsAreTheThreeOpsAtOnce) {
  Buffers b;
  const Tensor labels = b.ints({4, kIgnoreLabel, 0}, {3}), scale = b.zeros(DType::f64, {1});
  set(scale, 0, 0.25);
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor logits = strided_normal(b, dtype, 3, 11), d = b.poisoned(dtype, {3, 11});
    const Result apart = cross_entropy(b, logits, labels);
    run(CrossEntropyBwd{
        .logits = logits, .labels = labels, .lse = apart.lse, .dlogits = d, .scale = scale});
    const Tensor loss = b.poisoned(dtype, {3}), sum = b.zeros(DType::f64, {1});
    set(sum, 0, 1.5);
    run(CrossEntropyRows{
        .logits = logits, .labels = labels, .loss = loss, .loss_sum = sum, .scale = scale});
    EXPECT_EQ(values(logits), values(d));
    EXPECT_EQ(values(loss), values(apart.loss));
    EXPECT_EQ(get(sum, 0), 1.5 + get(apart.sum, 0));
  }
}

struct NaiveCrossEntropy {
  NaiveCrossEntropy(Buffers& b, const Tensor& logits, const std::vector<std::int32_t>& labels)
      : lse(b.zeros(DType::f32, {logits.shape[0]})),
        d(b.zeros(DType::f32, {logits.shape[0], logits.shape[1]})) {
    const std::int64_t vocab = logits.shape[1];
    for (std::int64_t n = 0; n < logits.shape[0]; ++n) {
      const float* x = logits.as<float>() + n * vocab;
      const float max = *std::max_element(x, x + vocab);
      float sum = 0;
      for (std::int64_t i = 0; i < vocab; ++i) sum += std::exp(x[i] - max);
      const float total = max + std::log(sum);
      set(lse, n, total);
      for (std::int64_t i = 0; i < vocab; ++i) {
        set(d, n * vocab + i, std::exp(x[i] - total) - (i == labels[n] ? 1.0f : 0.0f));
      }
    }
  }
  Tensor lse, d;
};

TEST(CrossEntropy, FloatErrorIsAtMostTwiceNaive) {
  Buffers b;
  const std::int64_t rows = 60, vocab = 1000;
  std::vector<std::int32_t> ids(rows);
  for (auto& id : ids) id = static_cast<std::int32_t>(b.below(vocab));
  const Tensor logits = b.normal(DType::f32, {rows, vocab}, 2.0), labels = b.ints(ids, {rows});
  const NaiveCrossEntropy naive(b, logits, ids);
  auto both_ways = [&](DType dtype) {
    const Tensor in = b.converted(logits, dtype), d = b.poisoned(dtype, {rows, vocab});
    const Result r = cross_entropy(b, in, labels);
    run(CrossEntropyBwd{.logits = in, .labels = labels, .lse = r.lse, .dlogits = d});
    return std::pair(r.lse, d);
  };
  const auto got = both_ways(DType::f32), want = both_ways(DType::f64);
  expect_like_naive(got.first, naive.lse, want.first);
  expect_like_naive(got.second, naive.d, want.second);
}

TEST(CrossEntropy, RejectsMalformed) {
  Buffers b;
  const Tensor logits = b.zeros(DType::f32, {2, 5}), labels = b.ints({1, 3}, {2}),
               stats = b.zeros(DType::f32, {2, 3}), row = b.zeros(DType::f32, {2}),
               sum = b.zeros(DType::f64, {1});
  expect_rejected(CrossEntropyStats{.logits = logits, .labels = b.ints({1}, {1}), .stats = stats},
                  "labels: expected shape [2], got [1]");
  expect_rejected(
      CrossEntropyStats{.logits = logits, .labels = labels, .stats = b.zeros(DType::f64, {2, 3})},
      "stats: expected dtype f32");
  expect_rejected(
      CrossEntropyStats{.logits = logits, .labels = b.zeros(DType::i64, {2}), .stats = stats},
      "labels: expected dtype i32");
  expect_rejected(
      CrossEntropyLoss{.stats = stats, .labels = labels, .lse = row, .loss = row, .loss_sum = sum},
      "loss: [2] f32 overlaps lse");
  expect_rejected(CrossEntropyLoss{.stats = stats, .labels = labels, .lse = row, .loss_sum = row},
                  "loss_sum: expected shape [1]");
  expect_rejected(
      CrossEntropyBwd{
          .logits = logits, .labels = labels, .lse = row, .dlogits = b.zeros(DType::f32, {2, 4})},
      "dlogits: expected shape [2, 5]");
  expect_rejected(CrossEntropyBwd{.logits = logits.slice(1, 0, 4),
                                  .labels = labels,
                                  .lse = row,
                                  .dlogits = logits.slice(1, 1, 4)},
                  "dlogits: [2, 4] f32 overlaps logits");
  expect_rejected(CrossEntropyRows{.logits = logits, .labels = labels, .loss_sum = row},
                  "loss_sum: expected shape [1]");
  expect_rejected(
      CrossEntropyRows{.logits = logits, .labels = labels, .loss_sum = sum, .scale = row},
      "scale: expected shape [1]");
}

}  // namespace
}  // namespace strait::kernels
