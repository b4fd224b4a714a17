#include <cmath>

#include "kernels/activation.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(Gelu, MatchesFormulaOnStridedRows) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor x = strided_normal(b, dtype, 4, 7), bias = b.normal(dtype, {7}),
                 y = strided_poisoned(b, dtype, 4, 7);
    run(GeluFwd{.x = x, .bias = bias, .y = y});
    for (std::int64_t i = 0; i < y.numel(); ++i) {
      const double z = get(x, i) + get(bias, i % 7);
      const double want = 0.5 * z * (1 + std::erf(z / std::sqrt(2.0)));
      EXPECT_NEAR(get(y, i), want, dtype == DType::f64 ? 1e-14 : 1e-6);
    }
    run(GeluFwd{.x = x, .bias = bias, .y = x});
    EXPECT_EQ(values(x), values(y));
  }
}

TEST(Gelu, Gradients) {
  Buffers b;
  for (std::int64_t rows : {1, 5, 70}) {
    for (std::int64_t width : {1, 9}) {
      const Tensor x = strided_normal(b, DType::f64, rows, width),
                   bias = b.normal(DType::f64, {width}),
                   dy = strided_normal(b, DType::f64, rows, width),
                   y = b.poisoned(DType::f64, {rows, width}),
                   dx = strided_poisoned(b, DType::f64, rows, width),
                   dbias = b.zeros(DType::f64, {width});
      auto loss = [&] {
        run(GeluFwd{.x = x, .bias = bias, .y = y});
        return dot(dy, y);
      };
      run(GeluBwd{.dy = dy, .x = x, .bias = bias, .dx = dx, .dbias = dbias});
      EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
      EXPECT_LE(gradient_error(bias, dbias, loss), kGradientTolerance);
      const std::vector<double> once = values(dbias);
      run(GeluBwd{.dy = dy, .x = x, .bias = bias, .dx = dy, .dbias = dbias});
      EXPECT_EQ(values(dy), values(dx));
      for (std::int64_t i = 0; i < width; ++i) {
        EXPECT_NEAR(get(dbias, i), 2 * once[static_cast<std::size_t>(i)], 1e-12);
      }
    }
  }
}

TEST(Gelu, LargeValuesStayFinite) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {1, 2}), bias = b.zeros(DType::f32, {2}),
               y = b.poisoned(DType::f32, {1, 2}), dx = b.poisoned(DType::f32, {1, 2}),
               dy = b.normal(DType::f32, {1, 2});
  set(x, 0, -1e4);
  set(x, 1, 1e4);
  run(GeluFwd{.x = x, .bias = bias, .y = y});
  EXPECT_EQ(get(y, 0), 0.0);
  EXPECT_EQ(get(y, 1), 1e4);
  run(GeluBwd{.dy = dy, .x = x, .bias = bias, .dx = dx, .dbias = b.zeros(DType::f32, {2})});
  EXPECT_EQ(get(dx, 0), 0.0);
  EXPECT_EQ(get(dx, 1), get(dy, 1));
}

TEST(Gelu, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {3, 4}), y = b.zeros(DType::f32, {3, 4}),
               bias = b.zeros(DType::f32, {4});
  expect_rejected(GeluFwd{.x = x, .bias = b.zeros(DType::f32, {3}), .y = y},
                  "bias: expected shape");
  expect_rejected(GeluFwd{.x = x, .bias = bias, .y = b.zeros(DType::f64, {3, 4})},
                  "y: expected dtype f32");
  expect_rejected(
      GeluBwd{.dy = y, .x = x, .bias = bias, .dx = x, .dbias = b.zeros(DType::f32, {4})},
      "dx: [3, 4] f32 overlaps x");
  expect_rejected(GeluBwd{.dy = y, .x = x, .bias = bias, .dx = y, .dbias = {}}, "dbias");
}

}  // namespace
}  // namespace strait::kernels
