#include "kernels/embedding.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(Embedding, LooksUpRowsAndZeroesOtherShards) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    const std::vector<std::int32_t> ids = {3, 9, 4, 5, 2, 3};
    const Tensor w = strided_normal(b, dtype, 2, 7), y = strided_poisoned(b, dtype, 6, 7);
    run(EmbeddingFwd{.ids = b.ints(ids, {6}), .w = w, .y = y, .vocab_begin = 3});
    for (std::int64_t t = 0; t < 6; ++t) {
      for (std::int64_t j = 0; j < 7; ++j) {
        const bool mine = ids[t] == 3 || ids[t] == 4;
        EXPECT_EQ(get(y, t * 7 + j), mine ? get(w, (ids[t] - 3) * 7 + j) : 0.0);
      }
    }
  }
}

TEST(Embedding, GradientAccumulatesInTokenOrder) {
  Buffers b;
  for (std::int64_t width : {1, 130}) {  // 130: more than two column blocks
    const Tensor ids = b.ints({1, 0, 1, 7, 1}, {5}), w = b.normal(DType::f64, {3, width}),
                 dy = strided_normal(b, DType::f64, 5, width),
                 y = b.poisoned(DType::f64, {5, width}), dw = b.zeros(DType::f64, {3, width});
    auto loss = [&] {
      run(EmbeddingFwd{.ids = ids, .w = w, .y = y});
      return dot(dy, y);
    };
    run(EmbeddingBwd{.ids = ids, .dy = dy, .dw = dw});
    EXPECT_LE(gradient_error(w, dw, loss), kGradientTolerance);
    for (std::int64_t j = 0; j < width; ++j) {
      EXPECT_EQ(get(dw, width + j), (get(dy, j) + get(dy, 2 * width + j)) + get(dy, 4 * width + j));
    }
    const Tensor once = b.converted(dw, DType::f64);
    run(EmbeddingBwd{.ids = ids, .dy = dy, .dw = dw});
    EXPECT_NEAR(get(dw, width), 2 * get(once, width), 1e-14);
  }
}

TEST(Embedding, ManyTokensOfOneIdAreBitEqualFromRunToRun) {
  Buffers b;
  const std::int64_t tokens = 300, width = 100;
  const Tensor ids = b.ints(std::vector<std::int32_t>(tokens, 1), {tokens}),
               dy = b.normal(DType::f32, {tokens, width}), first = b.zeros(DType::f32, {2, width}),
               second = b.zeros(DType::f32, {2, width});
  run(EmbeddingBwd{.ids = ids, .dy = dy, .dw = first});
  run(EmbeddingBwd{.ids = ids, .dy = dy, .dw = second});
  EXPECT_TRUE(bit_equal(first, second));
}

TEST(Embedding, RejectsMalformed) {
  Buffers b;
  const Tensor ids = b.ints({0, 1}, {2}), w = b.zeros(DType::f32, {3, 4}),
               y = b.zeros(DType::f32, {2, 4});
  expect_rejected(EmbeddingFwd{.ids = ids, .w = w, .y = b.zeros(DType::f32, {2, 5})},
                  "y: expected shape [2, 4]");
  expect_rejected(EmbeddingFwd{.ids = b.zeros(DType::i64, {2}), .w = w, .y = y},
                  "ids: expected dtype i32");
  expect_rejected(EmbeddingFwd{.ids = ids, .w = w, .y = w.slice(0, 1, 2)},
                  "y: [2, 4] f32 overlaps w");
  expect_rejected(EmbeddingBwd{.ids = ids, .dy = y, .dw = b.zeros(DType::f64, {3, 4})},
                  "dw: expected dtype f32");
  expect_rejected(EmbeddingBwd{.ids = ids, .dy = w, .dw = y}, "dy: expected shape [2, 4]");
}

}  // namespace
}  // namespace strait::kernels
