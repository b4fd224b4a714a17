#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/routing.h"
#include "tests/kernels/op_test.h"

// Results over parts must make the result over all.
namespace strait::kernels {
namespace {

using namespace test;

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

TEST(AttentionMerge, TwoSetsOfKeysMakeOne) {
  Buffers b;
  const std::int64_t tokens = 5, keys = 7, heads = 4, groups = 2, width = 3, cut = 3;
  const Tensor q = b.normal(DType::f64, {tokens, heads, width});
  const Tensor k = b.normal(DType::f64, {keys, groups, width});
  const Tensor v = b.normal(DType::f64, {keys, groups, width});
  // The first query sees nothing, the second only the first set, the last only the second.
  const std::vector<std::int32_t> begin = {0, 0, 1, 0, 4}, end = {0, 2, 5, 7, 7};
  const auto attend = [&](std::int64_t first, std::int64_t count, Tensor o, Tensor lse) {
    std::vector<std::int32_t> from, to;
    for (std::size_t t = 0; t < begin.size(); ++t) {
      const auto clip = [&](std::int32_t key) {
        return static_cast<std::int32_t>(std::clamp<std::int64_t>(key - first, 0, count));
      };
      from.push_back(clip(begin[t]));
      to.push_back(clip(end[t]));
    }
    run(AttentionFwd{.q = q,
                     .k = k.slice(0, first, count),
                     .v = v.slice(0, first, count),
                     .k_begin = b.ints(from, {tokens}),
                     .k_end = b.ints(to, {tokens}),
                     .o = o,
                     .lse = lse,
                     .scale = 0.7});
  };
  const Tensor whole = b.poisoned(DType::f64, {tokens, heads, width});
  const Tensor whole_lse = b.poisoned(DType::f64, {heads, tokens});
  attend(0, keys, whole, whole_lse);
  const Tensor o = b.zeros(DType::f64, {tokens, heads, width});
  const Tensor lse = b.zeros(DType::f64, {heads, tokens});
  for (std::int64_t i = 0; i < lse.numel(); ++i) set(lse, i, kMinusInfinity);
  for (const std::int64_t first : {std::int64_t{0}, cut}) {
    const Tensor part = b.poisoned(DType::f64, {tokens, heads, width});
    const Tensor part_lse = b.poisoned(DType::f64, {heads, tokens});
    attend(first, first == 0 ? cut : keys - cut, part, part_lse);
    run(AttentionMerge{.part = part, .part_lse = part_lse, .o = o, .lse = lse});
  }
  for (std::int64_t i = 0; i < o.numel(); ++i) EXPECT_NEAR(get(o, i), get(whole, i), 1e-14);
  for (std::int64_t h = 0; h < heads; ++h) {
    EXPECT_EQ(get(lse, h * tokens), kMinusInfinity);
    for (std::int64_t t = 1; t < tokens; ++t) {
      EXPECT_NEAR(get(lse, h * tokens + t), get(whole_lse, h * tokens + t), 1e-14);
    }
  }
}

TEST(CrossEntropyMerge, BlocksOnTheirOwnMakeTheWhole) {
  Buffers b;
  const std::int64_t rows = 4, vocab = 11;
  const Tensor logits = b.normal(DType::f64, {rows, vocab}, 30);
  const Tensor labels = b.ints({0, 4, 10, kIgnoreLabel}, {rows});
  const auto stats = [&](std::int64_t begin, std::int64_t end, Tensor out) {
    for (std::int64_t n = 0; n < rows; ++n) {
      set(out, 3 * n, kMinusInfinity);
      set(out, 3 * n + 1, 0);
      set(out, 3 * n + 2, 0);
    }
    run(CrossEntropyStats{.logits = logits.slice(1, begin, end - begin),
                          .labels = labels,
                          .stats = out,
                          .vocab_begin = begin});
  };
  const Tensor want = b.zeros(DType::f64, {rows, 3}), got = b.poisoned(DType::f64, {rows, 3});
  stats(0, vocab, want);
  const Tensor parts = b.zeros(DType::f64, {3, rows, 3});
  const std::int64_t cuts[] = {0, 4, 5, vocab};
  for (std::int64_t i = 0; i < 3; ++i) {
    stats(cuts[i], cuts[i + 1], Tensor(parts.slice(0, i, 1).data, DType::f64, {rows, 3}));
  }
  run(CrossEntropyMerge{.parts = parts, .stats = got});
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    EXPECT_NEAR(get(got, i), get(want, i), 1e-12 * std::abs(get(want, i))) << i;
  }
}

TEST(RouteFraction, SharedSequencesAddUpAndPaddingIsNotCounted) {
  Buffers b;
  // Two sequences of three tokens, one expert each; a rank holds the first four rows and padding.
  const std::vector<std::int32_t> expert = {0, 1, 1, 1, 0, 1}, sequence = {0, 0, 0, 1, 1, 1};
  const Tensor whole = b.poisoned(DType::f64, {2, 2});
  run(RouteFraction{.expert = b.ints(expert, {6, 1}), .fraction = whole});
  double sum[4] = {};
  for (const std::size_t first : {0, 4}) {
    std::vector<std::int32_t> own(expert.begin() + first, expert.begin() + (first ? 6 : 4));
    std::vector<std::int32_t> of(sequence.begin() + first, sequence.begin() + (first ? 6 : 4));
    own.push_back(0);
    of.push_back(-1);
    const auto rows = static_cast<std::int64_t>(own.size());
    const Tensor part = b.poisoned(DType::f64, {2, 2});
    run(RouteFraction{.expert = b.ints(own, {rows, 1}),
                      .sequence = b.ints(of, {rows}),
                      .fraction = part,
                      .length = 3});
    for (std::int64_t i = 0; i < 4; ++i) sum[i] += get(part, i);
  }
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_NEAR(sum[i], get(whole, i), 1e-15);
}

TEST(Merges, RefuseWhatDoesNotFit) {
  Buffers b;
  const Stream plan{.device = Device::plan};
  const Tensor parts = b.zeros(DType::f64, {2, 3, 3}), stats = b.zeros(DType::f64, {4, 3});
  EXPECT_THROW(launch(CrossEntropyMerge{.parts = parts, .stats = stats}, plan), OpError);
  const Tensor o = b.zeros(DType::f64, {2, 1, 3}), lse = b.zeros(DType::f64, {1, 2});
  EXPECT_THROW(launch(AttentionMerge{.part = o, .part_lse = lse, .o = o, .lse = lse}, plan),
               OpError);
  const Tensor expert = b.ints({0, 0, 0}, {3, 1}), two = b.zeros(DType::f64, {2, 2});
  EXPECT_THROW(launch(RouteFraction{.expert = expert, .fraction = two}, plan), OpError);
  EXPECT_THROW(
      launch(RouteFraction{.expert = expert, .sequence = b.ints({0, 1, 1}, {3}), .fraction = two},
             plan),
      OpError);
}

}  // namespace
}  // namespace strait::kernels
