#include <map>
#include <string>

#include "kernels/activation.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/mla.h"
#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/routing.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using test::Buffers;

class Recorder : public LaunchObserver {
 public:
  void on_launch(const char* op, const Work& work) override { bytes[op] += work.bytes; }
  std::map<std::string, double> bytes;
};

/// Bytes that the observer of a planned launch is told.
template <class Op>
double planned_bytes(const Op& op) {
  Recorder recorder;
  launch(op, {.device = Device::plan, .observer = &recorder});
  EXPECT_EQ(recorder.bytes.size(), 1u);
  return recorder.bytes[Op::kName];
}

TEST(Work, NormCountsEachTensorOnceAndAbsentOnesNotAtAll) {
  Buffers b;
  const auto bf16 = [&](std::initializer_list<std::int64_t> shape) {
    return b.zeros(DType::bf16, shape);
  };
  RmsNormFwd forward{
      .x = bf16({6, 32}), .w = bf16({32}), .y = bf16({6, 32}), .rstd = b.zeros(DType::f32, {6})};
  EXPECT_EQ(planned_bytes(forward), 2 * 6 * 32 * 2 + 32 * 2 + 6 * 4);
  forward.delta = bf16({6, 32});
  forward.sum = bf16({6, 32});
  EXPECT_EQ(planned_bytes(forward), 4 * 6 * 32 * 2 + 32 * 2 + 6 * 4);
  const RmsNormBwd backward{.dy = bf16({6, 32}),
                            .s = bf16({6, 32}),
                            .w = bf16({32}),
                            .rstd = b.zeros(DType::f32, {6}),
                            .dx = bf16({6, 32}),
                            .dw = b.zeros(DType::f32, {32})};
  EXPECT_EQ(planned_bytes(backward), 3 * 6 * 32 * 2 + 32 * 2 + 6 * 4 + 2 * 32 * 4)
      << "dw is read and written";
}

TEST(Work, SwigluInPlaceIsStillReadAndWritten) {
  Buffers b;
  const Tensor gate_up = b.zeros(DType::f32, {5, 16});
  const SwigluBwd op{.dy = b.zeros(DType::f32, {5, 8}), .gate_up = gate_up, .dgate_up = gate_up};
  EXPECT_EQ(planned_bytes(op), (5 * 8 + 2 * 5 * 16) * 4);
}

TEST(Work, CrossEntropyReadsLogitsOnce) {
  Buffers b;
  const CrossEntropyStats op{.logits = b.zeros(DType::bf16, {4, 100}),
                             .labels = b.zeros(DType::i32, {4}),
                             .stats = b.zeros(DType::f32, {4, 3})};
  EXPECT_EQ(planned_bytes(op), 4 * 100 * 2 + 4 * 4 + 2 * 4 * 3 * 4);
}

TEST(Work, EmbeddingReadsNoMoreRowsThanThereAre) {
  Buffers b;
  const auto bytes = [&](std::int64_t tokens, std::int64_t rows) {
    return planned_bytes(EmbeddingFwd{.ids = b.zeros(DType::i32, {tokens}),
                                      .w = b.zeros(DType::f32, {rows, 8}),
                                      .y = b.zeros(DType::f32, {tokens, 8})});
  };
  EXPECT_EQ(bytes(3, 10), 3 * 4 + (3 + 3) * 8 * 4);
  EXPECT_EQ(bytes(30, 10), 30 * 4 + (30 + 10) * 8 * 4);
}

TEST(Work, MlaInPlaceMovesOnlyRotatedQueries) {
  Buffers b;
  const std::int64_t tokens = 3, heads = 2, nope = 8, rope = 4, value = 8;
  MlaAssembleFwd op{.q_up = b.zeros(DType::f32, {tokens, heads, nope + rope}),
                    .kv_up = b.zeros(DType::f32, {tokens, heads, nope + value}),
                    .k_rope = b.zeros(DType::f32, {tokens, rope}),
                    .positions = b.zeros(DType::i32, {tokens}),
                    .q = b.zeros(DType::f32, {tokens, heads, nope + rope}),
                    .k = b.zeros(DType::f32, {tokens, heads, nope + rope}),
                    .rope = {.dims = rope}};
  const double keys = tokens * (heads * (nope + nope + rope) + rope + 1) * 4;
  EXPECT_EQ(planned_bytes(op), keys + 2 * tokens * heads * (nope + rope) * 4);
  op.q = b.zeros(DType::f32, {tokens, heads, nope + rope});
  op.q_up = op.q;
  EXPECT_EQ(planned_bytes(op), keys + 2 * tokens * heads * rope * 4);
}

TEST(Work, CombineCountsSharedExpertsWhenPresent) {
  Buffers b;
  MoeCombineFwd op{.x = b.zeros(DType::bf16, {12, 8}),
                   .row_of = b.zeros(DType::i32, {6, 2}),
                   .weight = b.zeros(DType::f32, {6, 2}),
                   .y = b.zeros(DType::bf16, {6, 8})};
  const double without = (12 + 6) * 8 * 2 + 2 * 12 * 4;
  EXPECT_EQ(planned_bytes(op), without);
  op.base = b.zeros(DType::bf16, {6, 8});
  EXPECT_EQ(planned_bytes(op), without + 6 * 8 * 2);
}

}  // namespace
}  // namespace strait::kernels
