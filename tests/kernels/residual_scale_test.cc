#include "kernels/residual_scale.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

/// Both terms on strided rows, outputs and sums beside them.
struct Terms {
  Terms(Buffers& b, std::int64_t rows, std::int64_t width, bool stream) {
    const auto matrix = [&] { return strided_normal(b, DType::f64, rows, width); };
    const auto row = [&] { return b.normal(DType::f64, {width}); };
    const auto sum = [&] { return b.zeros(DType::f64, {width}); };
    delta = matrix(), delta_scale = row(), delta_bias = row();
    dy = matrix(), y = strided_poisoned(b, DType::f64, rows, width);
    ddelta = strided_poisoned(b, DType::f64, rows, width);
    ddelta_scale = sum(), ddelta_bias = sum();
    if (!stream) return;
    x = matrix(), x_scale = row(), x_bias = row();
    dx = strided_poisoned(b, DType::f64, rows, width);
    dx_scale = sum(), dx_bias = sum();
  }
  ResidualScaleFwd forward() const {
    return {.x = x,
            .x_scale = x_scale,
            .x_bias = x_bias,
            .delta = delta,
            .delta_scale = delta_scale,
            .delta_bias = delta_bias,
            .y = y};
  }
  ResidualScaleBwd backward() const {
    return {.dy = dy,
            .x = x,
            .x_scale = x_scale,
            .x_bias = x_bias,
            .delta = delta,
            .delta_scale = delta_scale,
            .delta_bias = delta_bias,
            .dx = dx,
            .ddelta = ddelta,
            .dx_scale = dx_scale,
            .dx_bias = dx_bias,
            .ddelta_scale = ddelta_scale,
            .ddelta_bias = ddelta_bias};
  }
  Tensor x, x_scale, x_bias, delta, delta_scale, delta_bias, dy, y;
  Tensor dx, dx_scale, dx_bias, ddelta, ddelta_scale, ddelta_bias;
};

TEST(ResidualScale, BiasComesBeforeScale) {
  Buffers b;
  const Terms t(b, 3, 5, true);
  run(t.forward());
  for (std::int64_t i = 0; i < t.y.numel(); ++i) {
    const std::int64_t j = i % 5;
    const double branch = (get(t.delta, i) + get(t.delta_bias, j)) * get(t.delta_scale, j);
    EXPECT_NEAR(get(t.y, i), branch + (get(t.x, i) + get(t.x_bias, j)) * get(t.x_scale, j), 1e-14);
  }
  ResidualScaleFwd in_place = t.forward();
  in_place.y = t.x;
  run(in_place);
  EXPECT_EQ(values(t.x), values(t.y));
}

TEST(ResidualScale, Gradients) {
  Buffers b;
  for (const bool stream : {false, true}) {
    for (std::int64_t rows : {1, 5, 70}) {
      for (std::int64_t width : {1, 6}) {
        const Terms t(b, rows, width, stream);
        auto loss = [&] {
          run(t.forward());
          return dot(t.dy, t.y);
        };
        run(t.backward());
        EXPECT_LE(gradient_error(t.delta, t.ddelta, loss), kGradientTolerance);
        EXPECT_LE(gradient_error(t.delta_scale, t.ddelta_scale, loss), kGradientTolerance);
        EXPECT_LE(gradient_error(t.delta_bias, t.ddelta_bias, loss), kGradientTolerance);
        if (!stream) continue;
        EXPECT_LE(gradient_error(t.x, t.dx, loss), kGradientTolerance);
        EXPECT_LE(gradient_error(t.x_scale, t.dx_scale, loss), kGradientTolerance);
        EXPECT_LE(gradient_error(t.x_bias, t.dx_bias, loss), kGradientTolerance);
      }
    }
  }
}

TEST(ResidualScale, BackwardInPlaceAddsToItsSums) {
  Buffers b;
  for (const bool stream : {false, true}) {
    const Terms t(b, 9, 4, stream);
    run(t.backward());
    const std::vector<double> once = values(t.ddelta_scale), branch = values(t.ddelta),
                              residual = values(stream ? t.dx : t.ddelta);
    ResidualScaleBwd op = t.backward();
    (stream ? op.dx : op.ddelta) = t.dy;
    run(op);
    EXPECT_EQ(values(t.dy), residual);
    EXPECT_EQ(values(op.ddelta), branch);
    for (std::int64_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(get(t.ddelta_scale, i), 2 * once[static_cast<std::size_t>(i)], 1e-13);
    }
  }
}

TEST(ResidualScale, RejectsMalformed) {
  Buffers b;
  const Terms t(b, 3, 4, true);
  ResidualScaleFwd lonely = t.forward();
  lonely.x_scale = {};
  expect_rejected(lonely, "must be present together");
  ResidualScaleFwd narrow = t.forward();
  narrow.delta_bias = b.zeros(DType::f64, {3});
  expect_rejected(narrow, "delta_bias: expected shape [4], got [3]");
  ResidualScaleFwd overlap = t.forward();
  overlap.y = t.x.slice(0, 0, 3);
  overlap.y.data = overlap.y.as<double>() + 1;
  expect_rejected(overlap, "overlaps x");
  ResidualScaleBwd without = t.backward();
  without.dx = {};
  expect_rejected(without, "dx: must be present exactly when x is");
  ResidualScaleBwd alias = t.backward();
  alias.ddelta = t.dy;
  expect_rejected(alias, "ddelta: [3, 4] f64 overlaps dy");
  ResidualScaleBwd sumless = t.backward();
  sumless.dx_bias = {};
  expect_rejected(sumless, "dx_bias: must be present exactly when its value is");
}

}  // namespace
}  // namespace strait::kernels
