#include "input/packing.h"

#include <map>

#include "core/rng.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using Row = std::vector<std::int32_t>;
constexpr std::int32_t kEod = 1000000;

/// Documents of random lengths; all ids but EOD differ.
MemorySource numbered(std::int64_t documents, std::int64_t longest, std::uint64_t seed) {
  const core::Rng rng(seed, "test");
  Row tokens;
  std::int32_t next = 0;
  for (std::int64_t d = 0; d < documents; ++d) {
    const double u = rng.uniform(static_cast<std::uint64_t>(d));
    const auto length = static_cast<std::int64_t>(u * u * static_cast<double>(longest));
    for (std::int64_t i = 0; i < length; ++i) tokens.push_back(next++);
    tokens.push_back(kEod);
  }
  return {tokens, kEod};
}

Samples all_of(const Packing& packing, std::int64_t seq_len) {
  Samples out;
  out.resize(packing.count(), seq_len);
  for (std::int64_t i = 0; i < packing.count(); ++i) packing.write(i, i, out);
  return out;
}

struct Case {
  config::Packing kind;
  bool mask;
  std::int64_t seq_len;
};

class EveryPacking : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    Packing, EveryPacking,
    testing::Values(Case{config::Packing::chunk, true, 64}, Case{config::Packing::chunk, false, 64},
                    Case{config::Packing::best_fit, true, 64},
                    Case{config::Packing::best_fit, false, 64},
                    Case{config::Packing::best_fit, true, 1},
                    Case{config::Packing::best_fit, true, 1000}),
    [](const auto& info) {
      return std::string(info.param.kind == config::Packing::chunk ? "Chunk" : "BestFit") +
             (info.param.mask ? "Masked" : "Joined") + std::to_string(info.param.seq_len);
    });

TEST_P(EveryPacking, TakesInEveryTokenOnceWithTheLabelThatFollows) {
  const auto [kind, mask, length] = GetParam();
  for (const std::uint64_t seed : {1, 2, 3}) {
    const MemorySource source = numbered(500, 200, seed);
    const auto packing =
        make_packing(whole(source), {.seq_len = length, .document_mask = mask, .kind = kind});
    const Samples s = all_of(*packing, length);
    Row next(static_cast<std::size_t>(source.size()));
    source.read(0, next);
    std::map<std::int32_t, std::int32_t> follows;  // of every id but EOD
    for (std::size_t i = 0; i + 1 < next.size(); ++i) follows[next[i]] = next[i + 1];
    std::map<std::int32_t, int> inputs, labels;
    std::int64_t ends = 0;
    for (std::size_t t = 0; t < s.ids.size(); ++t) {
      if (s.ids[t] == kEod) {
        ends += 1;
        if (mask) {
          EXPECT_EQ(s.labels[t], kIgnoredLabel);
        }
        continue;
      }
      ++inputs[s.ids[t]];
      ++labels[s.labels[t]];
      EXPECT_EQ(s.labels[t], follows[s.ids[t]]);
    }
    // Each number is an input once; each that is not the first of its document is a label of one.
    for (std::int32_t id = 0; id < static_cast<std::int32_t>(follows.size()) - 1; ++id) {
      ASSERT_EQ(inputs[id], 1) << id;
    }
    std::int64_t filled = 0;
    for (const auto& [id, count] : inputs) filled += count;
    const std::int64_t padding = packing->count() * length - packing->tokens();
    EXPECT_EQ(filled + ends - padding, packing->tokens());
    EXPECT_EQ(packing->tokens(), source.size() - (kind == config::Packing::chunk ? 1 : 0));
  }
}

TEST(BestFit, KeepsDocumentsWholeAndFillsSequencesUp) {
  const MemorySource source({1, 2, 3, 4, 5, kEod, 6, kEod, 7, 8, 9, kEod, 10, 11, kEod, 12, kEod},
                            kEod);
  const auto packing =
      make_packing(whole(source), {.seq_len = 6, .kind = config::Packing::best_fit});
  ASSERT_EQ(packing->count(), 3);  // 6, 4 + 2, 3 + 2
  const Samples s = all_of(*packing, 6);
  EXPECT_EQ(s.ids,
            (Row{1, 2, 3, 4, 5, kEod, 7, 8, 9, kEod, 6, kEod, 10, 11, kEod, 12, kEod, kEod}));
  EXPECT_EQ(s.labels,
            (Row{2, 3, 4, 5, kEod, -1, 8, 9, kEod, -1, kEod, -1, 11, kEod, -1, kEod, -1, -1}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 0, 1, 0, 1, 2, 0, 1, 0}));
}

TEST(BestFit, CutsOnlyDocumentsThatAreTooLong) {
  const MemorySource source({1, 2, 3, 4, 5, 6, kEod, 7, kEod}, kEod);
  const auto packing =
      make_packing(whole(source), {.seq_len = 3, .kind = config::Packing::best_fit});
  ASSERT_EQ(packing->count(),
            3);  // 1 2 3 | 4 5 6 | 7 EOD EOD: the rest of one, the whole of another
  const Samples s = all_of(*packing, 3);
  EXPECT_EQ(s.ids, (Row{1, 2, 3, 4, 5, 6, 7, kEod, kEod}));
  EXPECT_EQ(s.labels, (Row{2, 3, 4, 5, 6, kEod, kEod, -1, -1}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 0, 1, 2, 0, 1, 0}));
}

TEST(BestFit, WithoutTheMaskASequenceIsOneDocument) {
  const MemorySource source({1, 2, kEod, 3, kEod}, kEod);
  const auto packing = make_packing(
      whole(source), {.seq_len = 6, .document_mask = false, .kind = config::Packing::best_fit});
  const Samples s = all_of(*packing, 6);
  EXPECT_EQ(s.ids, (Row{1, 2, kEod, 3, kEod, kEod}));
  EXPECT_EQ(s.labels, (Row{2, kEod, 3, kEod, -1, -1}));
  EXPECT_EQ(s.doc_pos, (Row{0, 1, 2, 3, 4, 5}));
}

TEST(BestFit, WastesLittle) {
  const MemorySource source = numbered(20000, 1500, 7);
  const auto packing =
      make_packing(whole(source), {.seq_len = 1024, .kind = config::Packing::best_fit});
  const double places = static_cast<double>(packing->count()) * 1024;
  EXPECT_LT(places / static_cast<double>(packing->tokens()), 1.001);
}

TEST(Packing, NamesABadLength) {
  const MemorySource source({1, kEod}, kEod);
  for (const std::int64_t length : {std::int64_t{0}, std::int64_t{1} << 31}) {
    EXPECT_TRUE(strait::test::holds(
        strait::test::input_error([&] { make_packing(whole(source), {.seq_len = length}); }),
        {"data.seq_len", "got " + std::to_string(length)}));
  }
}

}  // namespace
}  // namespace strait::input
