#include "kernels/activation.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/exp.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

TEST(FastExp, FloatIsWithinItsStatedError) {
  double worst = 0;
  for (std::uint32_t bits = 0; bits < 0x42b20000u; bits += 1009) {  // 0 .. 89, both signs
    for (std::uint32_t sign : {0u, 0x80000000u}) {
      const float x = std::bit_cast<float>(bits | sign);
      const double want = std::exp(static_cast<double>(x));
      if (want > std::numeric_limits<float>::max()) continue;
      const float rounded = static_cast<float>(want);
      const double ulp = std::nextafter(rounded, std::numeric_limits<float>::infinity()) - rounded;
      worst = std::max(worst, std::abs(cpu::fast_exp(x) - want) / ulp);
    }
  }
  EXPECT_LE(worst, 1.02);
  EXPECT_GT(worst, 0.0);
}

TEST(FastExp, EdgesAndDouble) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(cpu::fast_exp(0.0f), 1.0f);
  EXPECT_EQ(cpu::fast_exp(inf), inf);
  EXPECT_EQ(cpu::fast_exp(1e30f), inf);
  EXPECT_EQ(cpu::fast_exp(88.8f), inf);
  EXPECT_LT(cpu::fast_exp(88.7f), inf);
  EXPECT_EQ(cpu::fast_exp(-inf), 0.0f);
  EXPECT_EQ(cpu::fast_exp(-1e30f), 0.0f);
  EXPECT_GT(cpu::fast_exp(-103.0f), 0.0f);
  EXPECT_TRUE(std::isnan(cpu::fast_exp(std::nanf(""))));
  EXPECT_EQ(cpu::fast_exp(1.25), std::exp(1.25));
}

TEST(Swiglu, MatchesFormulaOnStridedRows) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor x = strided_normal(b, dtype, 4, 14), y = strided_poisoned(b, dtype, 4, 7);
    run(SwigluFwd{.gate_up = x, .y = y});
    for (std::int64_t i = 0; i < y.numel(); ++i) {
      const double gate = get(x, i / 7 * 14 + i % 7), up = get(x, i / 7 * 14 + 7 + i % 7);
      EXPECT_NEAR(get(y, i), gate / (1 + std::exp(-gate)) * up, dtype == DType::f64 ? 1e-14 : 1e-6);
    }
  }
}

TEST(Swiglu, Gradients) {
  Buffers b;
  for (std::int64_t rows : {1, 5}) {
    for (std::int64_t width : {1, 9}) {
      const Tensor x = strided_normal(b, DType::f64, rows, 2 * width),
                   dy = strided_normal(b, DType::f64, rows, width),
                   y = b.poisoned(DType::f64, {rows, width}),
                   dx = strided_poisoned(b, DType::f64, rows, 2 * width);
      auto loss = [&] {
        run(SwigluFwd{.gate_up = x, .y = y});
        return dot(dy, y);
      };
      run(SwigluBwd{.dy = dy, .gate_up = x, .dgate_up = dx});
      EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
      run(SwigluBwd{.dy = dy, .gate_up = x, .dgate_up = x});
      EXPECT_EQ(values(x), values(dx));
    }
  }
}

TEST(Swiglu, LargeGatesStayFinite) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    const Tensor x = b.zeros(dtype, {1, 4}), y = b.poisoned(dtype, {1, 2}),
                 dx = b.poisoned(dtype, {1, 4}), dy = b.normal(dtype, {1, 2});
    const double huge[] = {-1e4, 1e4, 2, 3};
    for (std::int64_t i = 0; i < 4; ++i) set(x, i, huge[i]);
    run(SwigluFwd{.gate_up = x, .y = y});
    EXPECT_EQ(get(y, 0), 0.0);
    EXPECT_EQ(get(y, 1), 3e4);
    run(SwigluBwd{.dy = dy, .gate_up = x, .dgate_up = dx});
    EXPECT_EQ(get(dx, 0), 0.0);
    EXPECT_FLOAT_EQ(get(dx, 1), 3 * get(dy, 1));
    EXPECT_FLOAT_EQ(get(dx, 3), 1e4 * get(dy, 1));
  }
}

TEST(Swiglu, FloatErrorIsAtMostTwiceNaive) {
  Buffers b;
  const std::int64_t rows = 50, width = 80;
  const Tensor x = b.normal(DType::f32, {rows, 2 * width}, 3.0),
               dy = b.normal(DType::f32, {rows, width}), y = b.zeros(DType::f32, {rows, width}),
               dx = b.zeros(DType::f32, {rows, 2 * width});
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    const std::int64_t at = i / width * 2 * width + i % width;
    const float g = x.as<float>()[at], u = x.as<float>()[at + width], d = dy.as<float>()[i];
    const float s = 1.0f / (1.0f + std::exp(-g));
    set(y, i, g * s * u);
    set(dx, at, d * u * s * (1.0f + g * (1.0f - s)));
    set(dx, at + width, d * g * s);
  }
  auto both_ways = [&](DType dtype) {
    const Tensor in = b.converted(x, dtype);
    const SwigluFwd forward{.gate_up = in, .y = b.poisoned(dtype, {rows, width})};
    const SwigluBwd backward{.dy = b.converted(dy, dtype),
                             .gate_up = in,
                             .dgate_up = b.poisoned(dtype, {rows, 2 * width})};
    run(forward);
    run(backward);
    return std::pair(forward.y, backward.dgate_up);
  };
  const auto got = both_ways(DType::f32), want = both_ways(DType::f64);
  expect_like_naive(got.first, y, want.first);
  expect_like_naive(got.second, dx, want.second);
}

TEST(Swiglu, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {3, 8}), y = b.zeros(DType::f32, {3, 4});
  expect_rejected(SwigluFwd{.gate_up = b.zeros(DType::f32, {3, 7}), .y = y},
                  "gate_up: expected shape [3, 8], got [3, 7]");
  expect_rejected(SwigluFwd{.gate_up = x, .y = x.slice(1, 0, 4)}, "y: [3, 4] f32 overlaps gate_up");
  expect_rejected(SwigluFwd{.gate_up = b.zeros(DType::f64, {3, 8}), .y = y},
                  "gate_up: expected dtype f32");
  expect_rejected(SwigluBwd{.dy = y, .gate_up = x, .dgate_up = y}, "dgate_up: expected shape");
  expect_rejected(SwigluBwd{.dy = x.slice(1, 0, 4), .gate_up = x, .dgate_up = x},
                  "dgate_up: [3, 8] f32 overlaps dy");
}

}  // namespace
}  // namespace strait::kernels
