#include "kernels/elementwise.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(Fill, EveryDtypeAndOnlyTheView) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32, DType::i64, DType::i32}) {
    const Tensor wide = b.zeros(dtype, {3, 9}), view = wide.slice(1, 2, 4);
    run(Fill{.x = view, .value = 3});
    for (std::int64_t i = 0; i < wide.numel(); ++i) {
      EXPECT_EQ(get(wide, i), i % 9 >= 2 && i % 9 < 6 ? 3.0 : 0.0);
    }
  }
  const Tensor bytes = b.zeros(DType::u8, {5}), half = b.zeros(DType::bf16, {2});
  run(Fill{.x = bytes, .value = 200});
  EXPECT_EQ(bytes.as<std::uint8_t>()[4], 200);
  run(Fill{.x = half, .value = -1.5});
  EXPECT_EQ(half.as<std::uint16_t>()[1], 0xbfc0);
}

TEST(Fill, LongContiguousTensor) {
  Buffers b;
  const Tensor x = b.poisoned(DType::f32, {3, 7001});
  run(Fill{.x = x, .value = 1});
  EXPECT_EQ(dot(x, x), 3.0 * 7001);
}

TEST(Add, StridedHighRankAndAliased) {
  Buffers b;
  const Tensor a = b.normal(DType::f32, {2, 3, 4, 8}).slice(3, 1, 5).slice(2, 1, 2),
               c = b.normal(DType::f32, {2, 3, 2, 5}), y = b.poisoned(DType::f32, {2, 3, 2, 5});
  run(Add{.a = a, .b = c, .y = y});
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    EXPECT_EQ(get(y, i), static_cast<float>(get(a, i)) + static_cast<float>(get(c, i)));
  }
  run(Add{.a = a, .b = c, .y = a});
  EXPECT_EQ(values(a), values(y));
  run(Add{.a = c, .b = c, .y = c});
  const Tensor doubles = b.normal(DType::f64, {20001}), sum = b.poisoned(DType::f64, {20001});
  run(Add{.a = doubles, .b = doubles, .y = sum});
  for (std::int64_t i = 0; i < sum.numel(); ++i) ASSERT_EQ(get(sum, i), 2 * get(doubles, i));
}

TEST(Copy, ConvertsAndMovesBytes) {
  Buffers b;
  const Tensor x = strided_normal(b, DType::f64, 4, 6), y = strided_poisoned(b, DType::f32, 4, 6),
               z = b.poisoned(DType::f64, {4, 6}), w = strided_poisoned(b, DType::f64, 4, 6);
  run(Copy{.x = x, .y = y});
  run(Copy{.x = y, .y = z});
  run(Copy{.x = x, .y = w});
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    EXPECT_EQ(get(y, i), static_cast<float>(get(x, i)));
    EXPECT_EQ(get(z, i), get(y, i));
  }
  EXPECT_EQ(values(w), values(x));
  const Tensor ints = b.ints({1, -2, 3}, {3}), copy = b.poisoned(DType::i32, {3});
  run(Copy{.x = ints, .y = copy});
  EXPECT_TRUE(bit_equal(ints, copy));
}

TEST(Elementwise, EmptyIsFine) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {0, 3}), y = b.zeros(DType::f32, {3, 0});
  EXPECT_NO_THROW(run(Fill{.x = x, .value = 1}));
  EXPECT_NO_THROW(run(Add{.a = y, .b = y, .y = y}));
  EXPECT_NO_THROW(run(Copy{.x = x, .y = b.zeros(DType::f64, {0, 3})}));
}

TEST(Elementwise, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {4, 3}), other = b.zeros(DType::f32, {3, 4});
  expect_rejected(Fill{}, "x: absent");
  expect_rejected(Add{.a = x, .b = other, .y = x}, "b: expected the shape of y, [4, 3] f32");
  expect_rejected(Add{.a = b.zeros(DType::f64, {4, 3}), .b = x, .y = x}, "a: expected dtype f32");
  const Tensor i32 = b.zeros(DType::i32, {4, 3});
  expect_rejected(Add{.a = i32, .b = i32, .y = i32}, "y: expected dtype f64, f32 or bf16");
  expect_rejected(
      Add{.a = x.slice(0, 0, 3), .b = other.view({3, 4}).slice(1, 0, 3), .y = x.slice(0, 1, 3)},
      "y: [3, 3] f32 overlaps a");
  expect_rejected(Copy{.x = x, .y = x}, "y: [4, 3] f32 overlaps x");
  expect_rejected(Copy{.x = i32, .y = x}, "x: expected dtype f64, f32 or bf16, got [4, 3] i32");
  Tensor transposed = other;
  std::swap(transposed.shape[0], transposed.shape[1]);
  std::swap(transposed.stride[0], transposed.stride[1]);
  expect_rejected(Copy{.x = transposed, .y = x}, "x: expected a contiguous last dim");
}

}  // namespace
}  // namespace strait::kernels
