#include "tests/layers/attention_check.h"

namespace strait::test {
namespace {

TEST(MlaAttention, QueryLatent) {
  check_attention(with_mla(3, 4));
}

TEST(MlaAttention, DirectQueries) {
  check_attention(with_mla(3, 0));
}

TEST(MlaAttention, OneHead) {
  check_attention(with_mla(1, 4));
  check_attention(with_mla(1, 0));
}

TEST(MlaAttention, OneTokenSequences) {
  check_attention(with_mla(2, 4), {{1}, {1}});
}

TEST(MlaAttention, DocumentsOfOneToken) {
  check_attention(with_mla(2, 0), {{1, 1, 1, 1, 1}});
}

TEST(MlaAttention, InterleavedRopeAndSequencePositions) {
  config::Model model = with_mla(2, 4);
  model.attention.rope.interleaved = true;
  model.attention.rope.positions = config::RopePositions::sequence;
  model.attention.mla.rope_dim = 4;
  model.attention.head_dim = 7;
  check_attention(model);
}

TEST(MlaAttention, WideValues) {
  config::Model model = with_mla(2, 4);
  model.attention.mla.value_dim = 9;
  check_attention(model);
}

TEST(MlaAttention, Window) {
  config::Model model = with_mla(2, 4);
  model.attention.window = 3;
  check_attention(model);
}

}  // namespace
}  // namespace strait::test
