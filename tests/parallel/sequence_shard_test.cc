#include "parallel/sequence_shard.h"

#include <gtest/gtest.h>

#include "tests/support/tensors.h"

namespace strait::parallel {
namespace {

using Ints = std::vector<double>;
using test::values;

// Two sequences of five tokens: documents of 3 and 2, and of 1 and 4.
const std::vector<std::int32_t> kDocPos = {0, 1, 2, 0, 1, 0, 0, 1, 2, 3};

/// A shard with memory of its own.
class Loaded {
 public:
  Loaded(const MaskRule& rule, std::int64_t max_sequences, const auto& cut)
      : shard_(rule, max_sequences, cut) {
    shard_.bind(arena_);
    arena_.allocate(Device::cpu);
    shard_.bind(arena_);
  }
  const TokenBatch& load(const std::vector<std::int32_t>& doc_pos) {
    std::vector<std::int32_t> ids, labels;
    for (std::size_t t = 0; t < doc_pos.size(); ++t) {
      ids.push_back(static_cast<std::int32_t>(t));
      labels.push_back(static_cast<std::int32_t>(10 * t));
    }
    return shard_.load(ids, labels, doc_pos, Stream{});
  }
  SequenceShard& shard() { return shard_; }

 private:
  core::Arena arena_{"inputs"};
  SequenceShard shard_;
};

TEST(SequenceShard, CopiesTokensAndLabels) {
  Loaded shard({}, 2, 5);
  const TokenBatch& batch = shard.load(kDocPos);
  EXPECT_EQ(batch.sequences, 2);
  EXPECT_EQ(batch.seq_len, 5);
  EXPECT_EQ(batch.tokens(), 10);
  EXPECT_EQ(values(batch.ids), (Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(values(batch.labels), (Ints{0, 10, 20, 30, 40, 50, 60, 70, 80, 90}));
  EXPECT_EQ(values(batch.doc_pos), Ints(kDocPos.begin(), kDocPos.end()));
}

TEST(SequenceShard, CausalQueriesSeeTheirDocumentUpToThemselves) {
  Loaded shard({}, 2, 5);
  const TokenBatch& batch = shard.load(kDocPos);
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 0, 0, 3, 3, 5, 6, 6, 6, 6}));
  EXPECT_EQ(values(batch.spans.k_end), (Ints{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(SequenceShard, WindowsCutTheBeginning) {
  Loaded shard({.window = 2}, 2, 5);
  const TokenBatch& batch = shard.load(kDocPos);
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 0, 1, 3, 3, 5, 6, 6, 7, 8}));
  EXPECT_EQ(values(batch.spans.k_end), (Ints{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(SequenceShard, AWindowOfOneSeesItselfAlone) {
  Loaded shard({.window = 1}, 2, 5);
  EXPECT_EQ(values(shard.load(kDocPos).spans.k_begin), (Ints{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(SequenceShard, SlidingLayersHaveAWindowOfTheirOwn) {
  Loaded shard({.window = 3, .sliding_window = 2}, 2, 5);
  const TokenBatch& batch = shard.load(kDocPos);
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 0, 0, 3, 3, 5, 6, 6, 6, 7}));
  EXPECT_EQ(values(batch.sliding.k_begin), (Ints{0, 0, 1, 3, 3, 5, 6, 6, 7, 8}));
  EXPECT_EQ(values(batch.sliding.k_end), values(batch.spans.k_end));
  EXPECT_EQ(shard.shard().block_elements(), 7 * 10);
  Loaded without({.window = 3}, 2, 5);
  EXPECT_FALSE(without.load(kDocPos).sliding.k_begin.defined());
  EXPECT_EQ(without.shard().block_elements(), 6 * 10);
}

TEST(SequenceShard, QueriesThatSeeAheadStopAtTheirDocument) {
  Loaded shard({.causal = false}, 2, 5);
  const TokenBatch& batch = shard.load(kDocPos);
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 0, 0, 3, 3, 5, 6, 6, 6, 6}));
  EXPECT_EQ(values(batch.spans.k_end), (Ints{3, 3, 3, 5, 5, 6, 10, 10, 10, 10}));
}

TEST(SequenceShard, PositionsCountFromTheDocumentOrTheSequence) {
  Loaded document({}, 2, 5), sequence({.positions_from_document = false}, 2, 5);
  EXPECT_EQ(values(document.load(kDocPos).positions), Ints(kDocPos.begin(), kDocPos.end()));
  EXPECT_EQ(values(sequence.load(kDocPos).positions), (Ints{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
}

TEST(SequenceShard, SequencesOfOneToken) {
  Loaded shard({.causal = false}, 3, 1);
  const TokenBatch& batch = shard.load({0, 0, 0});
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 1, 2}));
  EXPECT_EQ(values(batch.spans.k_end), (Ints{1, 2, 3}));
}

TEST(SequenceShard, TakesFewerSequencesThanItsMost) {
  Loaded shard({}, 4, 2);
  const TokenBatch& batch = shard.load({0, 1, 0, 0});
  EXPECT_EQ(batch.sequences, 2);
  EXPECT_EQ(batch.ids.shape[0], 4);
  EXPECT_EQ(values(batch.spans.k_begin), (Ints{0, 0, 2, 3}));
}

TEST(SequenceShard, BlankBatchesHaveTheFullShape) {
  Loaded shard({}, 3, 7);
  const TokenBatch& batch = shard.shard().blank();
  EXPECT_EQ(batch.tokens(), 21);
  for (const Tensor& t : {batch.ids, batch.labels, batch.positions, batch.doc_pos,
                          batch.spans.k_begin, batch.spans.k_end}) {
    EXPECT_EQ(t.shape_string(), "[21] i32");
  }
}

TEST(SequenceShard, SharedRowsSayTheirSequenceAndPlace) {
  const auto expect = [](int cp_rank, int tp_rank, const Ints& sequence, const Ints& place) {
    SequenceCut cut;
    cut.length = 5;
    cut.cp = cut.tp = 2;
    cut.cp_rank = cp_rank;
    cut.tp_rank = tp_rank;
    Loaded shard({}, 2, cut);
    const TokenBatch& batch = shard.load(kDocPos);
    EXPECT_EQ(values(batch.sequence), sequence);
    EXPECT_EQ(values(batch.place), place);
  };
  // Context ranks hold the first and last of four chunks of two, or the others; tensor ranks one of
  // the sequences each.
  expect(0, 0, {0, 0, -1, -1}, {0, 1, 6, 7});
  expect(0, 1, {1, 1, -1, -1}, {0, 1, 6, 7});
  expect(1, 0, {0, 0, 0, -1}, {2, 3, 4, 5});
  expect(1, 1, {1, 1, 1, -1}, {2, 3, 4, 5});
}

}  // namespace
}  // namespace strait::parallel
