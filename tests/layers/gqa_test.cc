#include "tests/layers/attention_check.h"

namespace strait::test {
namespace {

using config::AttentionKind;

TEST(GqaAttention, MultiHead) {
  check_attention(with_heads(AttentionKind::mha, 3, 3, 4));
}

TEST(GqaAttention, Grouped) {
  check_attention(with_heads(AttentionKind::gqa, 6, 2, 2));
}

TEST(GqaAttention, OneKeyValueHead) {
  check_attention(with_heads(AttentionKind::gqa, 3, 1, 4));
}

TEST(GqaAttention, OneHead) {
  check_attention(with_heads(AttentionKind::mha, 1, 1, 6));
}

TEST(GqaAttention, OneTokenSequences) {
  check_attention(with_heads(AttentionKind::gqa, 4, 2, 4), {{1}, {1}, {1}});
}

TEST(GqaAttention, DocumentsOfOneToken) {
  check_attention(with_heads(AttentionKind::gqa, 4, 2, 4), {{1, 1, 1, 1, 1}});
}

TEST(GqaAttention, QkNorm) {
  config::Model model = with_heads(AttentionKind::gqa, 4, 2, 4);
  model.attention.qk_norm = true;
  check_attention(model);
}

TEST(GqaAttention, QkNormOneKeyValueHeadPartialRope) {
  config::Model model = with_heads(AttentionKind::gqa, 2, 1, 6);
  model.attention.qk_norm = true;
  model.attention.rope.fraction = 2.0 / 3;
  model.attention.rope.interleaved = true;
  check_attention(model);
}

TEST(GqaAttention, OddHeadWithoutRope) {
  config::Model model = with_heads(AttentionKind::mha, 2, 2, 5);
  model.attention.rope.fraction = 0;
  check_attention(model);
}

TEST(GqaAttention, PartialRope) {
  config::Model model = with_heads(AttentionKind::mha, 2, 2, 8);
  model.attention.rope.fraction = 0.5;
  check_attention(model);
}

TEST(GqaAttention, InterleavedRope) {
  config::Model model = with_heads(AttentionKind::gqa, 4, 2, 4);
  model.attention.rope.interleaved = true;
  check_attention(model);
}

TEST(GqaAttention, SequencePositions) {
  config::Model model = with_heads(AttentionKind::gqa, 4, 2, 4);
  model.attention.rope.positions = config::RopePositions::sequence;
  check_attention(model);
}

TEST(GqaAttention, Window) {
  for (const std::int64_t window : {1, 3}) {
    config::Model model = with_heads(AttentionKind::gqa, 4, 2, 4);
    model.attention.window = window;
    check_attention(model);
  }
}

TEST(GqaAttention, NotCausal) {
  config::Model model = with_heads(AttentionKind::gqa, 4, 2, 4);
  model.attention.causal = false;
  check_attention(model);
}

}  // namespace
}  // namespace strait::test
