#include "kernels/depth_average.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(DepthAverage, MatchesFormula) {
  Buffers b;
  const Tensor x = strided_normal(b, DType::f64, 3, 5), bias = b.normal(DType::f64, {5}),
               previous = strided_normal(b, DType::f64, 3, 5), gamma = b.normal(DType::f64, {5}),
               y = strided_poisoned(b, DType::f64, 3, 5);
  run(DepthAverageFwd{.x = x, .bias = bias, .previous = previous, .gamma = gamma, .y = y});
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    EXPECT_NEAR(get(y, i), get(x, i) + get(bias, i % 5) + get(gamma, i % 5) * get(previous, i),
                1e-15);
  }
  run(DepthAverageFwd{.x = x, .bias = bias, .y = y});
  for (std::int64_t i = 0; i < y.numel(); ++i) EXPECT_EQ(get(y, i), get(x, i) + get(bias, i % 5));
}

TEST(DepthAverage, Gradients) {
  Buffers b;
  for (std::int64_t rows : {1, 5, 70}) {
    for (std::int64_t width : {1, 6}) {
      const auto matrix = [&] { return strided_normal(b, DType::f64, rows, width); };
      const auto row = [&] { return b.normal(DType::f64, {width}); };
      const Tensor x = matrix(), previous = matrix(), dy = matrix(), y = matrix(), bias = row(),
                   gamma = row(), dprevious = strided_poisoned(b, DType::f64, rows, width),
                   dbias = b.zeros(DType::f64, {width}), dgamma = b.zeros(DType::f64, {width});
      auto loss = [&] {
        run(DepthAverageFwd{.x = x, .bias = bias, .previous = previous, .gamma = gamma, .y = y});
        return dot(dy, y);
      };
      DepthAverageBwd op{.dy = dy,
                         .previous = previous,
                         .gamma = gamma,
                         .dprevious = dprevious,
                         .dbias = dbias,
                         .dgamma = dgamma};
      run(op);
      EXPECT_LE(gradient_error(x, dy, loss), kGradientTolerance);
      EXPECT_LE(gradient_error(previous, dprevious, loss), kGradientTolerance);
      EXPECT_LE(gradient_error(bias, dbias, loss), kGradientTolerance);
      EXPECT_LE(gradient_error(gamma, dgamma, loss), kGradientTolerance);
      const std::vector<double> first = values(dbias);
      const Tensor alone = b.zeros(DType::f64, {width});
      run(DepthAverageBwd{.dy = dy, .dbias = alone});
      EXPECT_EQ(values(alone), first);
      op.dprevious = dy;  // in place
      run(op);
      EXPECT_EQ(values(dy), values(dprevious));
    }
  }
}

TEST(DepthAverage, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {3, 4}), bias = b.zeros(DType::f32, {4}),
               y = b.zeros(DType::f32, {3, 4});
  expect_rejected(DepthAverageFwd{.x = x, .bias = bias, .previous = y, .y = x},
                  "gamma: must be present exactly when previous is");
  expect_rejected(DepthAverageFwd{.x = x, .bias = bias, .previous = y, .gamma = bias, .y = y},
                  "y: [3, 4] f32 overlaps previous");
  expect_rejected(DepthAverageFwd{.x = x, .bias = b.zeros(DType::f32, {3}), .y = y},
                  "bias: expected shape [4], got [3]");
  expect_rejected(DepthAverageBwd{.dy = x, .previous = y, .gamma = bias, .dbias = bias},
                  "dprevious: must be present exactly when previous is");
}

}  // namespace
}  // namespace strait::kernels
