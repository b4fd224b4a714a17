#include "input/mixture.h"

#include <gtest/gtest.h>

#include <cmath>

#include "input/loader.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

constexpr std::int32_t kEod = 299;

/// Documents of `length` ids `mark`.
MemorySource marked(std::int32_t mark, std::int64_t documents, std::int64_t length) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t d = 0; d < documents; ++d) {
    tokens.insert(tokens.end(), static_cast<std::size_t>(length), mark);
    tokens.push_back(kEod);
  }
  return {tokens, kEod};
}

TEST(Mixture, DrawsAreCountedWithoutGaps) {
  const Mixture mixture({0.5, 0.3, 0.2});
  std::vector<std::int64_t> seen(3);
  for (std::int64_t n = 0; n < 2 * Mixture::kCycle + 1000; ++n) {
    const Mixture::Draw draw = mixture.at(n);
    ASSERT_EQ(draw.index, seen[static_cast<std::size_t>(draw.dataset)]++) << n;
  }
  for (std::int64_t d = 0; d < 3; ++d) {
    EXPECT_EQ(mixture.count(d, 2 * Mixture::kCycle + 1000), seen[static_cast<std::size_t>(d)]);
  }
}

TEST(Mixture, NeverLagsBehindTheShares) {
  const std::vector<double> shares{0.61, 0.25, 0.1, 0.04};
  const Mixture mixture(shares);
  std::vector<double> seen(shares.size());
  for (std::int64_t n = 0; n < 100000; ++n) {
    seen[static_cast<std::size_t>(mixture.at(n).dataset)] += 1;
    for (std::size_t d = 0; d < shares.size(); ++d) {
      ASSERT_LT(std::abs(seen[d] - shares[d] * static_cast<double>(n + 1)), 3) << n;
    }
  }
}

TEST(Mixture, TinySharesAreDrawnAtLeastOnceACycle) {
  const Mixture mixture({1, 1e-9});
  EXPECT_EQ(mixture.count(1, Mixture::kCycle), 1);
  EXPECT_EQ(mixture.count(0, Mixture::kCycle), Mixture::kCycle - 1);
}

class Shares : public testing::TestWithParam<config::Packing> {};

INSTANTIATE_TEST_SUITE_P(Mixture, Shares,
                         testing::Values(config::Packing::chunk, config::Packing::best_fit),
                         [](const auto& info) {
                           return info.param == config::Packing::chunk ? "Chunk" : "BestFit";
                         });

// Within 0.1 % of the shares over 10^7 tokens, here of very unlike datasets.
TEST_P(Shares, OfTokensAreAsAskedFor) {
  const MemorySource a = marked(1, 40, 3000), b = marked(2, 900, 70), c = marked(3, 300, 333);
  const std::vector<double> wanted{0.55, 0.3, 0.15};
  const Loader loader({{.name = "a", .tokens = whole(a), .share = 5.5},
                       {.name = "b", .tokens = whole(b), .share = 3},
                       {.name = "c", .tokens = whole(c), .share = 1.5}},
                      {.packing = {.seq_len = 512, .kind = GetParam()}, .global_batch = 32});
  std::vector<double> counts(4);
  double total = 0;
  std::int64_t step = 0;
  for (Samples s; total < 1e7; ++step) {
    loader.batch(step, 0, 32, s);
    // Ends of documents count for the document: those of padding are told by their neighbours.
    for (std::int64_t row = 0; row < 32; ++row) {
      std::int32_t mark = 0;
      for (std::int64_t i = 0; i < 512; ++i) {
        const std::int32_t id = s.ids[static_cast<std::size_t>(row * 512 + i)];
        if (id == kEod && mark == 0) continue;  // padding, or an end whose document is elsewhere
        counts[static_cast<std::size_t>(id == kEod ? mark : id)] += 1;
        total += 1;
        mark = id == kEod ? 0 : id;
      }
    }
  }
  for (std::size_t d = 0; d < 3; ++d) {
    EXPECT_NEAR(counts[d + 1] / total, wanted[d], 0.001) << d;
    const DatasetProgress progress = loader.progress(step)[d];
    EXPECT_NEAR(static_cast<double>(progress.tokens) / counts[d + 1], 1, 0.01);
    EXPECT_NEAR(progress.share, wanted[d], 1e-12);
  }
  EXPECT_GT(loader.progress(step)[0].epochs, 10);
}

TEST(Loader, AnEpochOfEachDatasetHoldsEverySequenceOnce) {
  std::vector<std::int32_t> tokens(4 * 50 + 1);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i % 4096);
  const MemorySource one(tokens, kEod + 10000), two(tokens, kEod + 10000);
  const Loader loader({{.name = "1", .tokens = whole(one), .share = 2},
                       {.name = "2", .tokens = whole(two), .share = 1}},
                      {.packing = {.seq_len = 4}, .global_batch = 3, .seed = 9});
  std::vector<int> seen(50);
  Samples s;
  for (std::int64_t step = 0; step < 50; ++step) {
    loader.batch(step, 0, 3, s);
    for (int row = 0; row < 3; ++row) ++seen[static_cast<std::size_t>(s.ids[row * 4]) / 4];
  }
  // Two epochs of the first and one of the second.
  for (const int count : seen) EXPECT_EQ(count, 3);
}

TEST(Fingerprint, KnowsIdsSharesAndOrderButNotNames) {
  const MemorySource one({1, 2, kEod}, kEod), two({1, 3, kEod}, kEod);
  const NamedTokens a{.name = "a", .tokens = whole(one), .share = 1};
  const NamedTokens b{.name = "b", .tokens = whole(two), .share = 1};
  NamedTokens renamed = a, heavier = a;
  renamed.name = "z";
  heavier.share = 2;
  const std::string base = fingerprint({a, b});
  EXPECT_EQ(base, fingerprint({renamed, b}));
  EXPECT_NE(base, fingerprint({b, a}));
  EXPECT_NE(base, fingerprint({a, a}));
  EXPECT_NE(base, fingerprint({heavier, b}));
  EXPECT_NE(base, fingerprint({a}));
}

}  // namespace
}  // namespace strait::input
