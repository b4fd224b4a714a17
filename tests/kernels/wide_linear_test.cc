#include "kernels/wide_linear.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(WideLinear, Gradient) {
  for (const std::int64_t tokens : {std::int64_t{1}, std::int64_t{7}}) {
    Buffers b;
    const Tensor x = strided_normal(b, DType::f64, tokens, 5), w = b.normal(DType::f64, {3, 5}),
                 dy = strided_normal(b, DType::f64, tokens, 3),
                 y = b.poisoned(DType::f64, {tokens, 3}), dx = b.poisoned(DType::f64, {tokens, 5});
    auto loss = [&] {
      run(WideLinearFwd{.x = x, .w = w, .y = y});
      return dot(dy, y);
    };
    run(WideLinearBwd{.dy = dy, .w = w, .dx = dx});
    EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
  }
}

TEST(WideLinear, KeepsTheWeightForProducts) {
  Buffers b;
  const Tensor x = b.normal(DType::f64, {2, 5}), w = b.normal(DType::f64, {3, 5}),
               parts = b.poisoned(DType::f64, {3, 5});
  run(WideLinearFwd{.x = x, .w = w, .y = b.poisoned(DType::f64, {2, 3}), .parts = parts});
  EXPECT_EQ(values(parts), values(w));
}

TEST(WideLinear, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::bf16, {4, 3}), w = b.zeros(DType::f32, {2, 3}),
               y = b.zeros(DType::f32, {4, 2});
  const WideLinearFwd op{.x = x, .w = w, .y = y};
  auto with = [&](auto change) {
    WideLinearFwd bad = op;
    change(bad);
    return bad;
  };
  expect_rejected(with([&](auto& o) { o.w = b.zeros(DType::f32, {2, 4}); }), "w");
  expect_rejected(with([&](auto& o) { o.w = b.zeros(DType::bf16, {2, 3}); }), "w");
  expect_rejected(with([&](auto& o) { o.y = b.zeros(DType::bf16, {4, 2}); }), "y");
  expect_rejected(with([&](auto& o) {
                    o.parts = b.zeros(DType::bf16, {6, 3});
                  }),
                  "parts: expected shape [8, 3]");
  expect_rejected(with([&](auto& o) { o.parts = b.zeros(DType::f32, {8, 3}); }), "parts");
  expect_rejected(WideLinearBwd{.dy = y, .w = w, .dx = b.zeros(DType::bf16, {3, 3})}, "dy");
}

}  // namespace
}  // namespace strait::kernels
