#include "tests/layers/attention_check.h"

namespace strait::test {
namespace {

using config::AttentionKind;

config::Model ccgqa() {
  return with_heads(AttentionKind::ccgqa, 4, 2, 4);
}

TEST(CcaAttention, EqualHeads) {
  check_attention(with_heads(AttentionKind::cca, 3, 3, 4));
}

TEST(CcaAttention, Grouped) {
  check_attention(ccgqa());
}

TEST(CcaAttention, OneHead) {
  check_attention(with_heads(AttentionKind::cca, 1, 1, 6));
}

TEST(CcaAttention, OneKeyValueHead) {
  check_attention(with_heads(AttentionKind::ccgqa, 3, 1, 4));
}

TEST(CcaAttention, OneTokenSequences) {
  check_attention(ccgqa(), {{1}, {1}});
}

TEST(CcaAttention, DocumentsOfOneToken) {
  check_attention(ccgqa(), {{1, 1, 1, 1, 1}});
}

TEST(CcaAttention, SwitchesOfTheMix) {
  for (const std::int64_t convs : {0, 1, 2}) {
    for (const bool qk_mean : {false, true}) {
      for (const bool value_shift : {false, true}) {
        config::Model model = ccgqa();
        model.attention.cca.convs = convs;
        model.attention.cca.qk_mean = qk_mean;
        model.attention.cca.value_shift = value_shift;
        SCOPED_TRACE(testing::Message() << "convs " << convs << ", qk-mean " << qk_mean
                                        << ", value shift " << value_shift);
        check_attention(model, {{3, 1, 3}});
      }
    }
  }
}

TEST(CcaAttention, WithoutNorm) {
  for (const std::int64_t convs : {0, 1, 2}) {
    config::Model model = ccgqa();
    model.attention.cca.convs = convs;
    model.attention.cca.norm = false;
    SCOPED_TRACE(testing::Message() << "convs " << convs);
    check_attention(model, {{3, 1, 3}});
  }
}

/// Output and gradients of a layer, its weights as their names draw them.
std::vector<std::vector<double>> outcome(const config::Model& model) {
  LayerCheck check(model, kPacked, [](const layers::Build& build) {
    return layers::make_attention(build, "attn");
  });
  check.run();
  std::vector<std::vector<double>> out = {values(check.y())};
  for (const core::Param& param : check.harness().table().params()) {
    out.push_back(values(param.grad));
  }
  return out;
}

TEST(CcaAttention, WithEverythingOffIsGqa) {
  for (const std::int64_t groups : {2, 4}) {
    config::Model model = with_heads(AttentionKind::ccgqa, 4, groups, 4);
    model.attention.cca = {.convs = 0, .qk_mean = false, .value_shift = false, .norm = false};
    const auto bare = outcome(model);
    model.attention.kind = AttentionKind::gqa;
    const auto gqa = outcome(model);
    ASSERT_EQ(bare.size(), gqa.size());
    for (std::size_t i = 0; i < gqa.size(); ++i) EXPECT_EQ(bare[i], gqa[i]) << "tensor " << i;
  }
}

TEST(CcaAttention, LinearTemperature) {
  config::Model model = ccgqa();
  model.attention.cca.key_temperature = config::KeyTemperature::linear;
  check_attention(model);
}

TEST(CcaAttention, LongerTaps) {
  config::Model model = ccgqa();
  model.attention.cca.taps_depthwise = 3;
  model.attention.cca.taps_grouped = 4;
  check_attention(model);
}

TEST(CcaAttention, OneTap) {
  config::Model model = ccgqa();
  model.attention.cca.taps_depthwise = 1;
  model.attention.cca.taps_grouped = 1;
  check_attention(model);
}

TEST(CcaAttention, OddHeadWithoutShiftAndRope) {
  config::Model model = with_heads(AttentionKind::ccgqa, 3, 1, 5);
  model.attention.rope.fraction = 0;
  model.attention.cca.value_shift = false;
  check_attention(model);
}

TEST(CcaAttention, HalfRopeSequencePositions) {
  config::Model model = ccgqa();
  model.attention.rope.fraction = 0.5;
  model.attention.rope.interleaved = true;
  model.attention.rope.positions = config::RopePositions::sequence;
  check_attention(model);
}

TEST(CcaAttention, Window) {
  config::Model model = ccgqa();
  model.attention.window = 2;
  check_attention(model);
}

}  // namespace
}  // namespace strait::test
