#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/residual_scale.h"

#include <cmath>

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Norm {
  Norm(Buffers& b, DType dtype, std::int64_t tokens, std::int64_t width)
      : x(strided_normal(b, dtype, tokens, width)),
        delta(strided_normal(b, dtype, tokens, width)),
        w(b.normal(dtype, {width})),
        sum(strided_poisoned(b, dtype, tokens, width)),
        y(strided_poisoned(b, dtype, tokens, width)),
        rstd(b.poisoned(dtype, {tokens})) {}
  RmsNormFwd plain() const { return {.x = x, .w = w, .y = y, .rstd = rstd}; }
  RmsNormFwd residual() const {
    return {.x = x, .delta = delta, .w = w, .sum = sum, .y = y, .rstd = rstd};
  }
  Tensor x, delta, w, sum, y, rstd;
};

TEST(RmsNorm, MatchesFormula) {
  Buffers b;
  const Norm n(b, DType::f64, 3, 5);
  run(n.residual());
  for (std::int64_t t = 0; t < 3; ++t) {
    double squares = 0;
    for (std::int64_t i = t * 5; i < t * 5 + 5; ++i) {
      EXPECT_EQ(get(n.sum, i), get(n.x, i) + get(n.delta, i));
      squares += get(n.sum, i) * get(n.sum, i);
    }
    const double rstd = 1 / std::sqrt(squares / 5 + 1e-5);
    EXPECT_NEAR(get(n.rstd, t), rstd, 1e-14);
    for (std::int64_t i = 0; i < 5; ++i) {
      EXPECT_NEAR(get(n.y, t * 5 + i), get(n.sum, t * 5 + i) * rstd * get(n.w, i), 1e-14);
    }
  }
}

TEST(RmsNorm, ScaledSumIsThatOfResidualScale) {
  Buffers b;
  const Norm n(b, DType::f64, 3, 5);
  const auto vector = [&] { return b.normal(DType::f64, {5}); };
  const SumScales scales{vector(), vector(), vector(), vector()};
  const Tensor sum = b.poisoned(DType::f64, {3, 5}), y = b.poisoned(DType::f64, {3, 5});
  run(ResidualScaleFwd{.x = n.x,
                       .x_scale = scales.x_scale,
                       .x_bias = scales.x_bias,
                       .delta = n.delta,
                       .delta_scale = scales.delta_scale,
                       .delta_bias = scales.delta_bias,
                       .y = sum});
  run(RmsNormFwd{.x = sum, .w = n.w, .y = y, .rstd = n.rstd});
  const std::vector<double> rstd = values(n.rstd);
  RmsNormFwd op = n.residual();
  op.scales = scales;
  run(op);
  EXPECT_LE(relative_l2(n.sum, sum), 1e-15);
  EXPECT_LE(relative_l2(n.y, y), 1e-15);
  for (std::int64_t t = 0; t < 3; ++t) EXPECT_NEAR(get(n.rstd, t), rstd[t], 1e-15 * rstd[t]);
}

TEST(RmsNorm, AddsRowsOfExpertsAsCombineDoes) {
  Buffers b;
  const Norm n(b, DType::f64, 3, 5);
  const ExpertRows experts{strided_normal(b, DType::f64, 6, 5), b.ints({4, 0, 1, 5, 2, 3}, {3, 2}),
                           b.normal(DType::f64, {3, 2})};
  const Tensor combined = b.poisoned(DType::f64, {3, 5}), sum = b.poisoned(DType::f64, {3, 5}),
               y = b.poisoned(DType::f64, {3, 5}), rstd = b.poisoned(DType::f64, {3});
  for (const Tensor& delta : {n.delta, Tensor{}}) {
    run(MoeCombineFwd{.x = experts.rows,
                      .row_of = experts.row_of,
                      .weight = experts.weight,
                      .base = delta,
                      .y = combined});
    run(RmsNormFwd{.x = n.x, .delta = combined, .w = n.w, .sum = sum, .y = y, .rstd = rstd});
    RmsNormFwd op = n.residual();
    op.delta = delta;
    op.experts = experts;
    run(op);
    EXPECT_EQ(values(n.sum), values(sum));
    EXPECT_EQ(values(n.y), values(y));
    EXPECT_EQ(values(n.rstd), values(rstd));
    op.sum = {};
    expect_rejected(op, "sum: must be present exactly when delta or experts are");
    op.sum = n.sum;
    op.experts.row_of = b.ints({0, 1, 2}, {3, 1});
    expect_rejected(op, "experts.rows: expected shape [3, 5]");
  }
}

TEST(RmsNorm, RejectsScalesThatAreNotWhole) {
  Buffers b;
  const Norm n(b, DType::f64, 3, 5);
  const Tensor vector = b.normal(DType::f64, {5});
  RmsNormFwd op = n.residual();
  op.scales = {vector, vector, vector, {}};
  expect_rejected(op, "scales.delta_bias: must be present together");
  op = n.plain();
  op.scales = {vector, vector, vector, vector};
  expect_rejected(op, "scales: expected a delta");
}

TEST(RmsNorm, RejectsBiasesOfOtherDtypesThanTheirScales) {
  Buffers b;
  const Norm n(b, DType::bf16, 3, 5);
  const Tensor narrow = b.zeros(DType::bf16, {5}), wide = b.zeros(DType::f32, {5});
  RmsNormFwd op = n.residual();
  op.rstd = b.zeros(DType::f32, {3});
  op.scales = {wide, wide, narrow, narrow};
  check(op);
  op.scales = {narrow, wide, narrow, narrow};
  expect_rejected(op, "scales.x_bias: expected dtype bf16");
  op.scales = {narrow, narrow, wide, narrow};
  expect_rejected(op, "scales.delta_bias: expected dtype f32");
}

TEST(RmsNorm, SumMayAliasEitherTerm) {
  Buffers b;
  const Norm n(b, DType::f32, 4, 37);
  run(n.residual());
  const Tensor sum = b.converted(n.sum, DType::f32), y = b.converted(n.y, DType::f32);
  const Tensor x = b.converted(n.x, DType::f32), delta = b.converted(n.delta, DType::f32);
  RmsNormFwd op = n.residual();
  op.x = op.sum = x;
  run(op);
  EXPECT_EQ(values(x), values(sum));
  EXPECT_EQ(values(n.y), values(y));
  op.x = n.x;
  op.delta = op.sum = delta;
  run(op);
  EXPECT_EQ(values(delta), values(sum));
  EXPECT_EQ(values(n.y), values(y));
}

void check_gradients(std::int64_t tokens, std::int64_t width) {
  Buffers b;
  const Norm n(b, DType::f64, tokens, width);
  const Tensor dy = strided_normal(b, DType::f64, tokens, width),
               dresidual = strided_normal(b, DType::f64, tokens, width),
               dx = strided_poisoned(b, DType::f64, tokens, width),
               dw = b.zeros(DType::f64, {width});
  auto loss = [&] {
    run(n.residual());
    return dot(dy, n.y) + dot(dresidual, n.sum);
  };
  loss();
  RmsNormBwd op{
      .dy = dy, .s = n.sum, .w = n.w, .rstd = n.rstd, .dresidual = dresidual, .dx = dx, .dw = dw};
  run(op);
  const Tensor dw_once = b.converted(dw, DType::f64), dx_once = b.converted(dx, DType::f64);
  EXPECT_LE(gradient_error(n.x, dx, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(n.delta, dx, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(n.w, dw, loss), kGradientTolerance);

  // The same with dx in the memory of dresidual; dw accumulates on top.
  loss();
  op.dx = dresidual;
  run(op);
  EXPECT_EQ(values(dresidual), values(dx_once));
  for (std::int64_t i = 0; i < width; ++i) EXPECT_DOUBLE_EQ(get(dw, i), 2 * get(dw_once, i));
}

TEST(RmsNorm, Gradients) {
  check_gradients(5, 9);
  check_gradients(1, 7);
  check_gradients(3, 1);
  check_gradients(67, 3);  // several row blocks of several rows
}

TEST(RmsNorm, GradientWithoutResidual) {
  Buffers b;
  const Norm n(b, DType::f64, 4, 6);
  const Tensor dy = b.normal(DType::f64, {4, 6}), dx = b.poisoned(DType::f64, {4, 6}),
               dw = b.zeros(DType::f64, {6});
  auto loss = [&] {
    run(n.plain());
    return dot(dy, n.y);
  };
  loss();
  run(RmsNormBwd{.dy = dy, .s = n.x, .w = n.w, .rstd = n.rstd, .dx = dx, .dw = dw});
  EXPECT_LE(gradient_error(n.x, dx, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(n.w, dw, loss), kGradientTolerance);
}

struct NaiveNorm {
  NaiveNorm(Buffers& b, const Norm& n, const Tensor& dy)
      : y(b.zeros(DType::f32, {n.x.shape[0], n.x.shape[1]})),
        dx(b.zeros(DType::f32, {n.x.shape[0], n.x.shape[1]})),
        dw(b.zeros(DType::f32, {n.x.shape[1]})) {
    const std::int64_t width = n.x.shape[1];
    for (std::int64_t t = 0; t < n.x.shape[0]; ++t) row(n, dy, t * width, width);
  }
  void row(const Norm& n, const Tensor& dy, std::int64_t first, std::int64_t width) {
    auto at = [&](const Tensor& tensor, std::int64_t i) {
      return static_cast<float>(get(tensor, i));
    };
    float squares = 0, product = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      squares += at(n.x, first + i) * at(n.x, first + i);
      product += at(dy, first + i) * at(n.w, i) * at(n.x, first + i);
    }
    const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(width) + 1e-5f);
    for (std::int64_t i = 0; i < width; ++i) {
      const float normal = at(n.x, first + i) * rstd;
      set(y, first + i, normal * at(n.w, i));
      set(dw, i, at(dw, i) + at(dy, first + i) * normal);
      set(dx, first + i,
          rstd * (at(dy, first + i) * at(n.w, i) -
                  normal * (product * rstd / static_cast<float>(width))));
    }
  }
  Tensor y, dx, dw;
};

TEST(RmsNorm, FloatErrorIsAtMostTwiceNaive) {
  Buffers b;
  const std::int64_t tokens = 200, width = 100;
  Norm narrow(b, DType::f32, tokens, width), wide(b, DType::f64, tokens, width);
  wide.x = b.converted(narrow.x, DType::f64);
  wide.w = b.converted(narrow.w, DType::f64);
  const Tensor dy = b.normal(DType::f32, {tokens, width});
  const NaiveNorm naive(b, narrow, dy);
  auto backward = [&](const Norm& n, DType dtype) {
    run(n.plain());
    RmsNormBwd op{.dy = b.converted(dy, dtype),
                  .s = n.x,
                  .w = n.w,
                  .rstd = n.rstd,
                  .dx = b.poisoned(dtype, {tokens, width}),
                  .dw = b.zeros(dtype, {width})};
    run(op);
    return op;
  };
  const RmsNormBwd got = backward(narrow, DType::f32), want = backward(wide, DType::f64);
  expect_like_naive(narrow.y, naive.y, wide.y);
  expect_like_naive(got.dx, naive.dx, want.dx);
  expect_like_naive(got.dw, naive.dw, want.dw);
}

TEST(RmsNorm, SameBitsTwice) {
  Buffers b;
  const Norm n(b, DType::f32, 300, 65);
  run(n.plain());
  const Tensor dy = b.normal(DType::f32, {300, 65});
  auto gradient = [&] {
    const Tensor dw = b.zeros(DType::f32, {65});
    run(RmsNormBwd{.dy = dy,
                   .s = n.x,
                   .w = n.w,
                   .rstd = n.rstd,
                   .dx = b.poisoned(DType::f32, {300, 65}),
                   .dw = dw});
    return dw;
  };
  EXPECT_TRUE(bit_equal(gradient(), gradient()));
}

TEST(RmsNorm, RejectsMalformed) {
  Buffers b;
  const Norm n(b, DType::f32, 4, 6);
  RmsNormFwd op = n.residual();
  op.sum = {};
  expect_rejected(op, "sum: must be present exactly when delta");
  op = n.plain();
  op.w = b.zeros(DType::f32, {5});
  expect_rejected(op, "w: expected shape [6], got [5]");
  op = n.plain();
  op.rstd = b.zeros(DType::f64, {4});
  expect_rejected(op, "rstd: expected dtype f32");
  op = n.plain();
  op.y = n.x;
  expect_rejected(op, "y: [4, 6] f32 overlaps x");
  op = n.residual();
  op.y = n.sum;
  expect_rejected(op, "y: [4, 6] f32 overlaps sum");
  RmsNormBwd backward{.dy = n.y,
                      .s = n.x,
                      .w = n.w,
                      .rstd = n.rstd,
                      .dx = b.zeros(DType::f32, {4, 6}),
                      .dw = b.zeros(DType::f32, {6})};
  run(backward);
  backward.dx = n.y;
  expect_rejected(backward, "dx: [4, 6] f32 overlaps dy");
  backward.dx = b.zeros(DType::f64, {4, 6});
  expect_rejected(backward, "dx: expected dtype f32");
}

/// Beside bf16 the residual stream may be f32, but nothing else.
TEST(RmsNorm, TheResidualStreamMayBeWide) {
  Buffers b;
  const auto narrow = [&] { return b.zeros(DType::bf16, {4, 6}); };
  const auto wide = [&] { return b.zeros(DType::f32, {4, 6}); };
  const Tensor w = b.zeros(DType::bf16, {6}), rstd = b.zeros(DType::f32, {4});
  RmsNormFwd op{.x = wide(), .delta = narrow(), .w = w, .sum = wide(), .y = narrow(), .rstd = rstd};
  check(op);
  op.sum = narrow();
  expect_rejected(op, "sum: expected dtype f32");
  op.sum = wide();
  op.delta = wide();
  expect_rejected(op, "delta: expected dtype bf16");
  RmsNormBwd backward{.dy = narrow(),
                      .s = wide(),
                      .w = w,
                      .rstd = rstd,
                      .dx = narrow(),
                      .dw = b.zeros(DType::f32, {6})};
  check(backward);
  backward.dx = wide();
  expect_rejected(backward, "dx: expected dtype bf16");
}

}  // namespace
}  // namespace strait::kernels
