#include "input/loader.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using Row = std::vector<std::int32_t>;

constexpr std::int32_t kEod = 1000000;

/// Tokens 0, 1, 2, ... with EOD at the end: each id occurs once and names its place.
MemorySource counting(std::int32_t size) {
  Row tokens(static_cast<std::size_t>(size));
  std::iota(tokens.begin(), tokens.end(), 0);
  tokens.back() = kEod;
  return {tokens, kEod};
}

Samples batch_of(const Loader& loader, std::int64_t step, std::int64_t first, std::int64_t count) {
  Samples out;
  loader.batch(step, first, count, out);
  return out;
}

LoaderOptions options(std::int64_t seq_len, std::int64_t batch, std::uint64_t seed = 1) {
  return {.packing = {.seq_len = seq_len}, .global_batch = batch, .seed = seed};
}

NamedTokens named(const TokenSource& source, double share = 1, std::string name = "set") {
  return {.name = std::move(name), .tokens = whole(source), .share = share};
}

Loader loader_of(const TokenSource& source, const LoaderOptions& options) {
  return Loader({named(source)}, options);
}

Samples window_of(const MemorySource& source, const PackingOptions& packing, std::int64_t w = 0) {
  Samples out;
  EvalLoader(named(source), packing).batch(w, 1, out);
  return out;
}

TEST(Windows, LabelsFollowTheirInputs) {
  const MemorySource source = counting(13);
  const Samples s = window_of(source, {.seq_len = 4}, 1);
  EXPECT_EQ(s.ids, (Row{4, 5, 6, 7}));
  EXPECT_EQ(s.labels, (Row{5, 6, 7, 8}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 3}));
}

TEST(Windows, DocumentsAreApart) {
  const MemorySource source({1, 2, kEod, 3, kEod, 4, 5, kEod}, kEod);
  const Samples s = window_of(source, {.seq_len = 7, .document_mask = true});
  EXPECT_EQ(s.ids, (Row{1, 2, kEod, 3, kEod, 4, 5}));
  EXPECT_EQ(s.labels, (Row{2, kEod, -1, kEod, -1, 5, kEod}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 0, 1, 0, 1}));
}

TEST(Windows, WithoutTheMaskAWindowIsOneDocument) {
  const MemorySource source({1, 2, kEod, 3, kEod, 4, 5, kEod}, kEod);
  const Samples s = window_of(source, {.seq_len = 7, .document_mask = false});
  EXPECT_EQ(s.labels, (Row{2, kEod, 3, kEod, 4, 5, kEod}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 3, 4, 5, 6}));
}

TEST(Windows, AWindowStartBeginsADocument) {
  const MemorySource source({1, 2, 3, 4, kEod, 5, kEod}, kEod);
  const Samples s = window_of(source, {.seq_len = 3}, 1);
  EXPECT_EQ(s.ids, (Row{4, kEod, 5}));
  EXPECT_EQ(s.labels, (Row{kEod, -1, kEod}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 0}));
}

TEST(Loader, AnEpochHoldsEveryWindowOnce) {
  const std::int64_t length = 5, batch = 3;
  const MemorySource source = counting(5 * 21 + 1);  // 21 windows
  const Loader loader = loader_of(source, options(length, batch));
  for (const std::int64_t epoch : {0, 1}) {
    Row seen;
    for (std::int64_t step = 0; step < 7; ++step) {
      const Samples s = batch_of(loader, epoch * 7 + step, 0, batch);
      EXPECT_EQ(s.count, batch);
      for (std::size_t i = 0; i < s.ids.size(); ++i) {
        EXPECT_EQ(s.labels[i], s.ids[i] == 104 ? kEod : s.ids[i] + 1);
      }
      seen.insert(seen.end(), s.ids.begin(), s.ids.end());
    }
    std::sort(seen.begin(), seen.end());
    Row every(21 * 5);
    std::iota(every.begin(), every.end(), 0);
    EXPECT_EQ(seen, every);
  }
}

TEST(Loader, BatchesMayCrossEpochs) {
  const MemorySource source = counting(4 * 5 + 1);  // 5 windows, 3 a batch
  const Loader loader = loader_of(source, options(4, 3));
  Row starts;
  for (std::int64_t step = 0; step < 5; ++step) {
    const Samples s = batch_of(loader, step, 0, 3);
    for (int row = 0; row < 3; ++row) starts.push_back(s.ids[row * 4] / 4);
  }
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::sort(starts.begin() + epoch * 5, starts.begin() + (epoch + 1) * 5);
    EXPECT_EQ(Row(starts.begin() + epoch * 5, starts.begin() + (epoch + 1) * 5),
              (Row{0, 1, 2, 3, 4}));
  }
  EXPECT_EQ(loader.progress(5)[0].epochs, 3);
}

TEST(Loader, RanksTogetherReadTheGlobalBatch) {
  const MemorySource source = counting(6 * 40);
  const Loader loader = loader_of(source, options(6, 8, 5));
  for (const std::int64_t step : {0, 3, 17}) {
    const Samples global = batch_of(loader, step, 0, 8);
    for (const std::int64_t ranks : {1, 2, 4, 8}) {
      Row ids, labels, doc_pos;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const Samples part = batch_of(loader, step, rank * 8 / ranks, 8 / ranks);
        ids.insert(ids.end(), part.ids.begin(), part.ids.end());
        labels.insert(labels.end(), part.labels.begin(), part.labels.end());
        doc_pos.insert(doc_pos.end(), part.doc_pos.begin(), part.doc_pos.end());
      }
      EXPECT_EQ(ids, global.ids);
      EXPECT_EQ(labels, global.labels);
      EXPECT_EQ(doc_pos, global.doc_pos);
    }
  }
}

TEST(Loader, OrderDependsOnTheSeed) {
  const MemorySource source = counting(6 * 40);
  const Loader one = loader_of(source, options(6, 8, 1));
  const Loader two = loader_of(source, options(6, 8, 2));
  EXPECT_EQ(batch_of(one, 2, 0, 8).ids, batch_of(one, 2, 0, 8).ids);
  EXPECT_NE(batch_of(one, 2, 0, 8).ids, batch_of(two, 2, 0, 8).ids);
}

TEST(Loader, ReusedSamplesHoldNothingOld) {
  const MemorySource source = counting(6 * 40);
  const Loader loader = loader_of(source, options(6, 8));
  Samples reused;
  loader.batch(0, 0, 8, reused);
  const auto* memory = reused.ids.data();
  loader.batch(1, 2, 3, reused);
  EXPECT_EQ(reused.ids, batch_of(loader, 1, 2, 3).ids);
  EXPECT_EQ(reused.count, 3);
  EXPECT_EQ(reused.ids.data(), memory);
}

TEST(Loader, RefusesWhatItCannotServe) {
  const MemorySource source = counting(10);
  auto complaint = [&](std::int64_t seq_len, std::int64_t batch) {
    return test::input_error([&] { loader_of(source, options(seq_len, batch)); });
  };
  EXPECT_EQ(complaint(9, 1), "");
  EXPECT_TRUE(
      test::holds(complaint(10, 1), {"data.train", "10 tokens of \"set\"", "data.seq_len 10"}));
  EXPECT_TRUE(test::holds(complaint(0, 1), {"data.seq_len", "got 0"}));
  EXPECT_TRUE(test::holds(complaint(1, 0), {"train.batch_size", "got 0"}));
  const Loader loader = loader_of(source, options(3, 4));
  EXPECT_THROW(batch_of(loader, 0, 2, 3), std::out_of_range);
  EXPECT_THROW(batch_of(loader, -1, 0, 1), std::out_of_range);
  EXPECT_THROW(batch_of(loader, 0, -1, 1), std::out_of_range);
}

TEST(EvalLoader, CoversEveryLabelOnceAndPadsTheLastWindow) {
  const MemorySource source = counting(4 * 3 + 3);  // labels 1 .. 13 and the EOD
  const EvalLoader loader(named(source), {.seq_len = 4});
  ASSERT_EQ(loader.windows(), 4);
  Samples s;
  loader.batch(0, 4, s);
  Row counted;
  std::copy_if(s.labels.begin(), s.labels.end(), std::back_inserter(counted),
               [](auto label) { return label != kIgnoredLabel; });
  Row every(14);
  std::iota(every.begin(), every.end(), 1);
  every.back() = kEod;
  EXPECT_EQ(counted, every);
  EXPECT_EQ(Row(s.ids.end() - 4, s.ids.end()), (Row{12, 13, kEod, kEod}));
  EXPECT_EQ(Row(s.labels.end() - 4, s.labels.end()), (Row{13, kEod, -1, -1}));
}

TEST(EvalLoader, WindowsPastTheEndHaveNoLabels) {
  const MemorySource source = counting(9);
  const EvalLoader loader(named(source), {.seq_len = 4, .document_mask = false});
  EXPECT_EQ(loader.windows(), 2);
  Samples s;
  loader.batch(1, 2, s);
  EXPECT_EQ(Row(s.labels.begin(), s.labels.begin() + 4), (Row{5, 6, 7, kEod}));
  EXPECT_EQ(Row(s.labels.begin() + 4, s.labels.end()), Row(4, -1));
  EXPECT_EQ(Row(s.ids.begin() + 4, s.ids.end()), Row(4, kEod));
}

TEST(EvalLoader, NeedsALabel) {
  const MemorySource source({kEod}, kEod);
  EXPECT_TRUE(test::holds(
      test::input_error([&] { EvalLoader(named(source), PackingOptions{.seq_len = 4}); }),
      {"1 tokens of \"set\"", "data.val"}));
}

}  // namespace
}  // namespace strait::input
