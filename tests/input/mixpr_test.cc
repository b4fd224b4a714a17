#include "input/text/mixpr.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/rng.h"

namespace strait::input {
namespace {

/// Documents of `topics` kinds in turn: words of the topic's own and words of all.
std::vector<std::string> documents(std::int64_t count, std::int64_t topics) {
  const core::Rng rng(5, "words");
  std::vector<std::string> out;
  std::uint64_t draw = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::string text;
    for (int w = 0; w < 40; ++w) {
      const bool own = w % 2 == 0;
      const auto word = static_cast<std::int64_t>(rng.uniform(draw++) * (own ? 30 : 2000));
      text += (own ? "topic" + std::to_string(i % topics) : std::string("any")) + "w" +
              std::to_string(word) + " ";
    }
    out.push_back(text);
  }
  return out;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

double norm(std::span<const Weighted> row) {
  double squares = 0;
  for (const Weighted& term : row) squares += double{term.weight} * term.weight;
  return std::sqrt(squares);
}

double cosine(const SparseRows& rows, std::int64_t a, std::int64_t b) {
  std::map<std::int32_t, double> left;
  for (const Weighted& term : rows.row(a)) left[term.index] = term.weight;
  double sum = 0;
  for (const Weighted& term : rows.row(b)) {
    if (left.contains(term.index)) sum += left[term.index] * term.weight;
  }
  return sum;
}

TEST(Tfidf, WeighsAsTheFormulaSays) {
  // "b" is in two of three texts, "a" (twice) and the pairs in one.
  const SparseRows rows = tfidf({"a A b", "b", "c"}, {.terms = 10, .most_common = 1});
  ASSERT_EQ(rows.rows(), 3);
  const double rare = std::log(4.0 / 2) + 1, common = std::log(4.0 / 3) + 1;
  const double length = std::sqrt(4 * rare * rare + common * common + 2 * rare * rare);
  std::vector<double> weights;
  for (const Weighted& term : rows.row(0)) weights.push_back(term.weight);
  ASSERT_EQ(weights.size(), 4u);  // a, "a a", "a b", b
  EXPECT_NEAR(weights[0], 2 * rare / length, 1e-6);
  EXPECT_NEAR(weights[1], rare / length, 1e-6);
  EXPECT_NEAR(weights[2], rare / length, 1e-6);
  EXPECT_NEAR(weights[3], common / length, 1e-6);
  EXPECT_NEAR(cosine(rows, 0, 1), common / length, 1e-6);
  EXPECT_EQ(cosine(rows, 0, 2), 0);
}

TEST(Tfidf, KeepsTheLargestTermsAndLeavesOutTheCommonOnes) {
  const auto texts = documents(100, 5);
  const SparseRows rows = tfidf(views(texts), {.terms = 8});
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    EXPECT_EQ(rows.row(i).size(), 8u);
    EXPECT_NEAR(norm(rows.row(i)), 1, 1e-6);
  }
  std::vector<std::string> all(100, "the same words");
  EXPECT_EQ(tfidf(views(all), {}).entries.size(), 0u);
}

TEST(Neighbours, AreTheMostAlikeWithinTheBounds) {
  auto texts = documents(60, 3);
  texts.push_back(texts[0]);  // a duplicate: no neighbour of its twin
  const SparseRows rows = tfidf(views(texts), {.most_common = 1});
  const SparseRows graph = neighbours(rows, 4, 0.01, 0.9);
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    std::vector<double> found, all;
    for (const Weighted& edge : graph.row(i)) {
      EXPECT_NEAR(edge.weight, cosine(rows, i, edge.index), 1e-5);
      found.push_back(edge.weight);
    }
    for (std::int64_t j = 0; j < rows.rows(); ++j) {
      const double c = cosine(rows, i, j);
      if (j != i && c > 0.01 && c < 0.9) all.push_back(c);
    }
    std::ranges::sort(all, std::greater{});
    all.resize(std::min<std::size_t>(all.size(), 4));
    ASSERT_EQ(found.size(), all.size());
    for (std::size_t k = 0; k < all.size(); ++k) EXPECT_NEAR(found[k], all[k], 1e-5);
  }
}

TEST(Mixpr, PlacesEveryDocumentOnceWithItsKind) {
  const auto texts = documents(600, 20);
  const MixprOptions options{
      .window_bytes = 3000, .random_share = 0, .tfidf = {.most_common = 0.2}};
  const MixprOrdering order = mixpr_order(views(texts), options);
  std::vector<std::int64_t> sorted = order.documents;
  std::ranges::sort(sorted);
  std::vector<std::int64_t> every(600);
  std::iota(every.begin(), every.end(), 0);
  EXPECT_EQ(sorted, every);
  EXPECT_GT(order.cosine, 3 * order.random_cosine);
  std::int64_t same = 0;
  for (std::size_t i = 0; i + 1 < order.documents.size(); ++i) {
    same += order.documents[i] % 20 == order.documents[i + 1] % 20;
  }
  EXPECT_GT(same, 400);  // 30 by chance
}

TEST(Mixpr, IsTheSameForTheSameSeedAlone) {
  const auto texts = documents(200, 5);
  MixprOptions options{.window_bytes = 3000, .random_share = 0.5};
  const auto first = mixpr_order(views(texts), options).documents;
  EXPECT_EQ(first, mixpr_order(views(texts), options).documents);
  options.seed = 2;
  EXPECT_NE(first, mixpr_order(views(texts), options).documents);
}

TEST(Mixpr, TheShareOfRandomWindowsIsWhatWasAsked) {
  const auto texts = documents(600, 20);
  double last = 1;
  for (const double share : {0.0, 0.5, 1.0}) {
    const MixprOrdering order = mixpr_order(
        views(texts), {.window_bytes = 3000, .random_share = share, .tfidf = {.most_common = 0.2}});
    EXPECT_LT(order.cosine, last) << share;
    last = order.cosine;
    if (share == 1) {
      EXPECT_NEAR(order.cosine, order.random_cosine, 0.2 * order.random_cosine);
    }
  }
}

TEST(Mixpr, TakesAnyTexts) {
  EXPECT_TRUE(mixpr_order({}, {}).documents.empty());
  EXPECT_EQ(mixpr_order({"", "", "alone", "\xff\xfe"}, {}).documents.size(), 4u);
}

}  // namespace
}  // namespace strait::input
