#include "kernels/qk_norm_rope.h"

#include <cmath>
#include <tuple>

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

/// Heads in the middle of wider tokens.
Tensor heads_normal(Buffers& b, DType dtype, std::int64_t tokens, std::int64_t heads,
                    std::int64_t d) {
  return b.normal(dtype, {tokens, heads + 2, d + 3}).slice(1, 1, heads).slice(2, 2, d);
}

Tensor heads_poisoned(Buffers& b, DType dtype, std::int64_t tokens, std::int64_t heads,
                      std::int64_t d) {
  return b.poisoned(dtype, {tokens, heads + 2, d + 3}).slice(1, 1, heads).slice(2, 2, d);
}

struct Case {
  Rope rope;
  std::int64_t tokens, heads, d;
  bool norm;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (bool norm : {false, true}) {
    for (bool interleaved : {false, true}) {
      out.push_back({{1e4, 6, interleaved}, 5, 3, 6, norm});
      out.push_back({{500.0, 4, interleaved}, 3, 1, 7, norm});  // partial, odd d
      out.push_back({{1e4, 2, interleaved}, 1, 2, 2, norm});
      out.push_back({{1e4, 0, interleaved}, 2, 2, 1, norm});  // no rotation, d = 1
    }
  }
  out.push_back({{1e4, 4, false}, 70, 2, 4, true});  // several row blocks
  return out;
}

Tensor positions_for(Buffers& b, std::int64_t tokens) {
  std::vector<std::int32_t> out(tokens);
  for (auto& p : out) p = static_cast<std::int32_t>(b.below(100));
  return b.ints(out, {tokens});
}

/// The definition, channel by channel.
double rotated(const ConstTensor& x, std::int64_t first, std::int64_t c, double position,
               const Rope& rope) {
  if (c >= rope.dims) return get(x, first + c);
  const std::int64_t half = rope.dims / 2;
  const std::int64_t pair = rope.interleaved ? c / 2 : c % half;
  const bool second = rope.interleaved ? c % 2 == 1 : c >= half;
  const std::int64_t a = rope.interleaved ? 2 * pair : pair;
  const std::int64_t z = rope.interleaved ? a + 1 : a + half;
  const double angle = position * std::pow(rope.theta, -2.0 * pair / rope.dims);
  return second ? get(x, first + z) * std::cos(angle) + get(x, first + a) * std::sin(angle)
                : get(x, first + a) * std::cos(angle) - get(x, first + z) * std::sin(angle);
}

TEST(QkNormRope, RotationMatchesDefinition) {
  Buffers b;
  for (const Case& s : cases()) {
    if (s.norm) continue;
    const Tensor x = heads_normal(b, DType::f64, s.tokens, s.heads, s.d),
                 y = heads_poisoned(b, DType::f64, s.tokens, s.heads, s.d),
                 positions = positions_for(b, s.tokens);
    run(QkNormRopeFwd{.x = x, .positions = positions, .y = y, .rope = s.rope});
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const double position = get(positions, i / (s.heads * s.d));
      EXPECT_NEAR(get(y, i), rotated(x, i - i % s.d, i % s.d, position, s.rope), 1e-12);
    }
    run(QkNormRopeFwd{.x = x, .positions = positions, .y = x, .rope = s.rope});
    EXPECT_EQ(values(x), values(y));
  }
}

TEST(QkNormRope, NormThenRotation) {
  Buffers b;
  const Tensor x = heads_normal(b, DType::f64, 3, 2, 6), w = b.normal(DType::f64, {6}),
               y = heads_poisoned(b, DType::f64, 3, 2, 6), rstd = b.poisoned(DType::f64, {3, 2}),
               positions = b.ints({0, 5, 40}, {3}), normed = b.zeros(DType::f64, {3, 2, 6});
  const Rope rope{.theta = 1e4, .dims = 4};
  run(QkNormRopeFwd{.x = x, .w = w, .positions = positions, .y = y, .rstd = rstd, .rope = rope});
  for (std::int64_t row = 0; row < 6; ++row) {
    double squares = 0;
    for (std::int64_t i = 0; i < 6; ++i) squares += get(x, row * 6 + i) * get(x, row * 6 + i);
    EXPECT_NEAR(get(rstd, row), 1 / std::sqrt(squares / 6 + 1e-6), 1e-13);
    for (std::int64_t i = 0; i < 6; ++i) {
      set(normed, row * 6 + i, get(x, row * 6 + i) * get(rstd, row) * get(w, i));
    }
  }
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    EXPECT_NEAR(get(y, i), rotated(normed, i - i % 6, i % 6, get(positions, i / 12), rope), 1e-12);
  }
}

TEST(QkNormRope, Gradients) {
  Buffers b;
  for (const Case& s : cases()) {
    const Tensor x = heads_normal(b, DType::f64, s.tokens, s.heads, s.d),
                 dy = heads_normal(b, DType::f64, s.tokens, s.heads, s.d),
                 dx = heads_poisoned(b, DType::f64, s.tokens, s.heads, s.d),
                 positions = positions_for(b, s.tokens);
    QkNormRopeFwd forward{.x = x,
                          .positions = positions,
                          .y = b.poisoned(DType::f64, {s.tokens, s.heads, s.d}),
                          .rope = s.rope};
    QkNormRopeBwd backward{.dy = dy, .positions = positions, .dx = dx, .rope = s.rope};
    const Tensor w = b.normal(DType::f64, {s.d}), dw = b.zeros(DType::f64, {s.d});
    if (s.norm) {
      forward.w = backward.w = w;
      forward.rstd = b.poisoned(DType::f64, {s.tokens, s.heads});
      // A head of one channel would be normed to +-1; a large eps keeps its gradient measurable.
      forward.eps = 0.1;
      backward.x = x;
      backward.rstd = forward.rstd;
      backward.dw = dw;
    }
    auto loss = [&] {
      run(forward);
      return dot(dy, forward.y);
    };
    loss();
    run(backward);
    EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
    if (s.norm) {
      EXPECT_LE(gradient_error(w, dw, loss), kGradientTolerance);
    }

    loss();
    backward.dx = dy;
    run(backward);
    EXPECT_EQ(values(dy), values(dx));
  }
}

TEST(QkNormRope, BackwardRotationIsTheTranspose) {
  Buffers b;
  const Tensor x = b.normal(DType::f64, {4, 2, 8}), z = b.normal(DType::f64, {4, 2, 8}),
               y = b.poisoned(DType::f64, {4, 2, 8}), back = b.poisoned(DType::f64, {4, 2, 8}),
               positions = b.ints({0, 1, 17, 4000}, {4});
  const Rope rope{.theta = 1e4, .dims = 6, .interleaved = true};
  run(QkNormRopeFwd{.x = x, .positions = positions, .y = y, .rope = rope});
  run(QkNormRopeBwd{.dy = z, .positions = positions, .dx = back, .rope = rope});
  EXPECT_NEAR(dot(y, z), dot(x, back), 1e-13 * std::abs(dot(y, z)));
  run(QkNormRopeBwd{.dy = y, .positions = positions, .dx = back, .rope = rope});
  EXPECT_LE(relative_l2(back, x), 1e-15);  // and, as of any rotation, the inverse
}

TEST(QkNormRope, PositionsInAnyOrderKeepPrecision) {
  Buffers b;
  const std::vector<std::int32_t> order = {0, 15, 16, 131071, 33};
  const std::vector<std::int32_t> reversed(order.rbegin(), order.rend());
  const Tensor x = b.zeros(DType::f64, {5, 1, 8}), y = b.poisoned(DType::f64, {5, 1, 8}),
               z = b.poisoned(DType::f64, {5, 1, 8});
  for (std::int64_t i = 0; i < 40; ++i) set(x, i, static_cast<double>(i % 8 + 1));
  const Rope rope{.theta = 1e6, .dims = 8};
  run(QkNormRopeFwd{.x = x, .positions = b.ints(order, {5}), .y = y, .rope = rope});
  run(QkNormRopeFwd{.x = x, .positions = b.ints(reversed, {5}), .y = z, .rope = rope});
  for (std::int64_t i = 0; i < 40; ++i) {
    EXPECT_EQ(get(y, i), get(z, (4 - i / 8) * 8 + i % 8));
    EXPECT_NEAR(get(y, i), rotated(x, i - i % 8, i % 8, order[i / 8], rope), 1e-9);
  }
}

struct FloatPair {
  QkNormRopeFwd forward;
  QkNormRopeBwd backward;
};

FloatPair both_ways(Buffers& b, DType dtype, const Tensor& x, const Tensor& w, const Tensor& dy,
                    const Tensor& positions) {
  FloatPair out;
  const auto [tokens, heads, d] = std::tie(x.shape[0], x.shape[1], x.shape[2]);
  const Rope rope{.theta = 1e4, .dims = d};
  out.forward = {.x = b.converted(x, dtype),
                 .w = b.converted(w, dtype),
                 .positions = positions,
                 .y = b.poisoned(dtype, {tokens, heads, d}),
                 .rstd = b.poisoned(dtype, {tokens, heads}),
                 .rope = rope};
  out.backward = {.dy = b.converted(dy, dtype),
                  .x = out.forward.x,
                  .w = out.forward.w,
                  .positions = positions,
                  .rstd = out.forward.rstd,
                  .dx = b.poisoned(dtype, {tokens, heads, d}),
                  .dw = b.zeros(dtype, {d}),
                  .rope = rope};
  run(out.forward);
  run(out.backward);
  return out;
}

/// Float norm and rotation with sums in index order; cos and sin rounded to float.
struct NaiveQk {
  NaiveQk(Buffers& b, const Tensor& x, const Tensor& w, const Tensor& dy, const Tensor& positions)
      : y(b.zeros(DType::f32, {x.shape[0], x.shape[1], x.shape[2]})),
        dx(b.zeros(DType::f32, {x.shape[0], x.shape[1], x.shape[2]})),
        dw(b.zeros(DType::f32, {x.shape[2]})) {
    const std::int64_t heads = x.shape[1], d = x.shape[2];
    for (std::int64_t row = 0; row < x.shape[0] * heads; ++row) {
      one(x.as<float>() + row * d, w.as<float>(), dy.as<float>() + row * d,
          get(positions, row / heads), row * d, d);
    }
  }
  void one(const float* x, const float* w, const float* dy, double position, std::int64_t first,
           std::int64_t d) {
    float squares = 0, product = 0;
    for (std::int64_t i = 0; i < d; ++i) squares += x[i] * x[i];
    const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(d) + 1e-6f);
    std::vector<float> dn(d);
    for (std::int64_t i = 0; i < d / 2; ++i) {
      const std::int64_t j = i + d / 2;
      const double angle = position * std::pow(1e4, -2.0 * i / d);
      const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
      const float a = x[i] * rstd * w[i], z = x[j] * rstd * w[j];
      set(y, first + i, a * c - z * s);
      set(y, first + j, z * c + a * s);
      dn[i] = dy[i] * c + dy[j] * s;
      dn[j] = dy[j] * c - dy[i] * s;
    }
    for (std::int64_t i = 0; i < d; ++i) product += dn[i] * w[i] * x[i];
    for (std::int64_t i = 0; i < d; ++i) {
      dw.as<float>()[i] += dn[i] * x[i] * rstd;
      set(dx, first + i,
          rstd * (dn[i] * w[i] - x[i] * rstd * (product * rstd / static_cast<float>(d))));
    }
  }
  Tensor y, dx, dw;
};

TEST(QkNormRope, FloatErrorIsAtMostTwiceNaive) {
  Buffers b;
  const Tensor x = b.normal(DType::f32, {150, 3, 64}), w = b.normal(DType::f32, {64}),
               dy = b.normal(DType::f32, {150, 3, 64}), positions = positions_for(b, 150);
  const NaiveQk naive(b, x, w, dy, positions);
  const FloatPair got = both_ways(b, DType::f32, x, w, dy, positions),
                  want = both_ways(b, DType::f64, x, w, dy, positions);
  expect_like_naive(got.forward.y, naive.y, want.forward.y);
  expect_like_naive(got.backward.dx, naive.dx, want.backward.dx);
  expect_like_naive(got.backward.dw, naive.dw, want.backward.dw);
}

TEST(QkNormRope, AccumulatesDwAndRepeatsBitForBit) {
  Buffers b;
  const Tensor x = b.normal(DType::f32, {90, 2, 8}), w = b.normal(DType::f32, {8}),
               dy = b.normal(DType::f32, {90, 2, 8}), positions = positions_for(b, 90);
  const FloatPair first = both_ways(b, DType::f32, x, w, dy, positions),
                  second = both_ways(b, DType::f32, x, w, dy, positions);
  EXPECT_TRUE(bit_equal(first.backward.dw, second.backward.dw));
  run(second.backward);
  for (std::int64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(get(second.backward.dw, i), 2 * get(first.backward.dw, i));
  }
}

TEST(QkNormRope, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {3, 2, 4}), y = b.zeros(DType::f32, {3, 2, 4}),
               w = b.zeros(DType::f32, {4}), positions = b.ints({0, 1, 2}, {3});
  QkNormRopeFwd op{.x = x, .positions = positions, .y = y, .rope = {.dims = 4}};
  run(op);
  op.rope.dims = 3;
  expect_rejected(op, "rope.dims: expected an even number in 0..4 (head dim), got 3");
  op.rope.dims = 6;
  expect_rejected(op, "rope.dims");
  op.rope = {.theta = -1.0, .dims = 4};
  expect_rejected(op, "rope.theta");
  op.rope = {.dims = 4};
  op.w = w;
  expect_rejected(op, "rstd: must be present exactly when w is");
  op.rstd = b.zeros(DType::f32, {3, 2});
  op.y = x;
  expect_rejected(op, "y: [3, 2, 4] f32 overlaps x");
  op.y = y;
  op.positions = b.ints({0, 1}, {2});
  expect_rejected(op, "positions: expected shape [3]");
  QkNormRopeBwd backward{.dy = x, .positions = positions, .dx = y, .rope = {.dims = 4}};
  backward.w = w;
  expect_rejected(backward, "x, rstd, dw: must be present exactly when w is");
  backward.w = {};
  backward.dx = b.zeros(DType::f64, {3, 2, 4});
  expect_rejected(backward, "dx: expected dtype f32");
}

}  // namespace
}  // namespace strait::kernels
