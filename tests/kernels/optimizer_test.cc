#include "kernels/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/elementwise.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

constexpr double kLr = 0.02, kBeta1 = 0.9, kBeta2 = 0.95, kEps = 1e-8, kDecay = 0.1;

/// One parameter, written from the paper with sums in T.
template <class T>
struct ScalarAdam {
  T w, m = 0, v = 0;
  void step(T g, T clip, int t) {
    g *= clip;
    m = static_cast<T>(kBeta1) * m + static_cast<T>(1 - kBeta1) * g;
    v = static_cast<T>(kBeta2) * v + static_cast<T>(1 - kBeta2) * g * g;
    const T m_hat = m / (T(1) - static_cast<T>(std::pow(kBeta1, t)));
    const T v_hat = v / (T(1) - static_cast<T>(std::pow(kBeta2, t)));
    w -= static_cast<T>(kLr) *
         (m_hat / (std::sqrt(v_hat) + static_cast<T>(kEps)) + static_cast<T>(kDecay) * w);
  }
};

struct State {
  State(Buffers& b, const Tensor& start, DType dtype)
      : w(b.converted(start, dtype)),
        m(b.zeros(dtype, {start.numel()})),
        v(b.zeros(dtype, {start.numel()})) {}
  Tensor w, m, v;
};

template <class T>
std::vector<ScalarAdam<T>> scalars_from(const Tensor& start) {
  std::vector<ScalarAdam<T>> out;
  for (double w : values(start)) out.push_back({static_cast<T>(w)});
  return out;
}

/// The device's copy of a step's rates.
Tensor rates_at(Buffers& b, int t, double lr = kLr) {
  const Tensor rates = b.zeros(DType::f64, {4});
  const auto values = adam_rates(lr, kBeta1, kBeta2, t);
  for (std::int64_t i = 0; i < 4; ++i) set(rates, i, values[static_cast<std::size_t>(i)]);
  return rates;
}

void step(Buffers& b, const State& s, const Tensor& g, const Tensor& clip, int t) {
  run(AdamW{.w = s.w,
            .g = b.converted(g, s.w.dtype),
            .m = s.m,
            .v = s.v,
            .grad_scale = clip,
            .rates = rates_at(b, t),
            .beta1 = kBeta1,
            .beta2 = kBeta2,
            .eps = kEps,
            .decay = kDecay});
}

TEST(AdamW, FollowsScalarReferenceOverSteps) {
  Buffers b;
  const std::int64_t n = 533;
  const Tensor start = b.normal(DType::f32, {n}), clip = b.zeros(DType::f64, {1}),
               naive = b.zeros(DType::f32, {n});
  const State narrow(b, start, DType::f32), wide(b, start, DType::f64);
  auto doubles = scalars_from<double>(start);
  auto floats = scalars_from<float>(start);
  for (int t = 1; t <= 6; ++t) {
    const Tensor g = b.normal(DType::f32, {n});
    const double factor = t % 2 ? 1.0 : 0.37;
    set(clip, 0, factor);
    step(b, narrow, g, clip, t);
    step(b, wide, g, clip, t);
    for (std::int64_t i = 0; i < n; ++i) {
      doubles[i].step(get(g, i), factor, t);
      floats[i].step(static_cast<float>(get(g, i)), static_cast<float>(factor), t);
    }
  }
  for (std::int64_t i = 0; i < n; ++i) {
    EXPECT_NEAR(get(wide.w, i), doubles[i].w, 1e-13);
    EXPECT_NEAR(get(wide.m, i), doubles[i].m, 1e-14);
    EXPECT_NEAR(get(wide.v, i), doubles[i].v, 1e-14);
    set(naive, i, floats[i].w);
  }
  expect_like_naive(narrow.w, naive, wide.w);
}

TEST(AdamW, LongTensorsMatchShortPieces) {
  Buffers b;
  const std::int64_t n = 40001;
  const Tensor start = b.normal(DType::f32, {n}), g = b.normal(DType::f32, {n}),
               clip = b.zeros(DType::f64, {1});
  set(clip, 0, 1.0);
  const State whole(b, start, DType::f32), pieces(b, start, DType::f32);
  step(b, whole, g, clip, 1);
  for (std::int64_t begin = 0; begin < n; begin += 1000) {
    const std::int64_t length = std::min<std::int64_t>(1000, n - begin);
    State piece = pieces;
    for (Tensor* t : {&piece.w, &piece.m, &piece.v}) *t = t->slice(0, begin, length);
    step(b, piece, g.slice(0, begin, length), clip, 1);
  }
  EXPECT_TRUE(bit_equal(whole.w, pieces.w));
  EXPECT_TRUE(bit_equal(whole.v, pieces.v));
}

TEST(AdamW, WritesTheWeightsAlongInAnotherDtype) {
  Buffers b;
  const Tensor w = b.normal(DType::f64, {9}), along = b.poisoned(DType::f32, {9});
  run(AdamW{.w = w,
            .g = b.normal(DType::f64, {9}),
            .m = b.zeros(DType::f64, {9}),
            .v = b.zeros(DType::f64, {9}),
            .w_compute = along,
            .grad_scale = b.normal(DType::f64, {1}),
            .rates = rates_at(b, 1)});
  EXPECT_EQ(values(along), values(b.converted(w, DType::f32)));
}

/// One step of `n` equal elements from given states kept in bf16; returns m and v of each.
std::vector<std::pair<double, double>> narrow_step(Buffers& b, std::int64_t n, std::uint64_t seed,
                                                   std::int64_t first_index = 0) {
  const Tensor w = b.zeros(DType::f32, {n}), g = b.zeros(DType::f32, {n}),
               one = b.zeros(DType::f64, {1}), m = b.zeros(DType::bf16, {n}),
               v = b.zeros(DType::bf16, {n});
  set(one, 0, 1.0);
  run(Fill{.x = g, .value = 0.7});
  run(AdamW{.w = w,
            .g = g,
            .m = m,
            .v = v,
            .grad_scale = one,
            .rates = rates_at(b, 3),
            .seed = seed,
            .first_index = first_index});
  std::vector<std::pair<double, double>> out;
  for (std::int64_t i = 0; i < n; ++i) {
    out.emplace_back(from_bf16(static_cast<const std::uint16_t*>(m.data)[i]),
                     from_bf16(static_cast<const std::uint16_t*>(v.data)[i]));
  }
  return out;
}

TEST(AdamW, NarrowStatesKeepTheMeanByChance) {
  Buffers b;
  const std::int64_t n = 20000;
  const double m = 0.1 * 0.7, v = 0.05 * 0.49;
  double mean_m = 0, mean_v = 0, least = 1, most = 0;
  for (const auto& [first, second] : narrow_step(b, n, 5)) {
    mean_m += first / static_cast<double>(n);
    mean_v += second / static_cast<double>(n);
    least = std::min(least, first);
    most = std::max(most, first);
  }
  // One bf16 step apart, and the mean within five standard errors of a coin between the two.
  const double step_m = most - least;
  EXPECT_GT(step_m, 0);
  EXPECT_LE(step_m, m / 128);
  EXPECT_NEAR(mean_m, m, 5 * 0.5 * step_m / std::sqrt(static_cast<double>(n)));
  EXPECT_NEAR(mean_v, v, 5 * 0.5 * v / 128 / std::sqrt(static_cast<double>(n)));
}

TEST(AdamW, NarrowStatesDependOnSeedAndIndexAlone) {
  Buffers b;
  const auto whole = narrow_step(b, 300, 5), again = narrow_step(b, 300, 5),
             other = narrow_step(b, 300, 6), tail = narrow_step(b, 200, 5, 100);
  EXPECT_EQ(whole, again);
  EXPECT_NE(whole, other);
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), whole.begin() + 100));
}

TEST(AdamW, RejectsMalformed) {
  Buffers b;
  const Tensor w = b.zeros(DType::f32, {4}), g = b.zeros(DType::f32, {4}),
               m = b.zeros(DType::f32, {4}), v = b.zeros(DType::f32, {4}),
               scale = b.zeros(DType::f64, {1});
  const AdamW good{.w = w, .g = g, .m = m, .v = v, .grad_scale = scale, .rates = rates_at(b, 1)};
  run(good);
  AdamW op = good;
  op.rates = scale;
  expect_rejected(op, "rates: expected shape [4], got [1]");
  op = good;
  op.beta2 = 1.0;
  expect_rejected(op, "beta1, beta2: expected in [0, 1)");
  op = good;
  op.v = m;
  expect_rejected(op, "m: [4] f32 overlaps v");
  op = good;
  op.m = b.zeros(DType::f64, {4});
  expect_rejected(op, "m: expected dtype f32");
  op = good;
  op.m = b.zeros(DType::bf16, {4});  // both states or none
  expect_rejected(op, "v: expected dtype bf16");
  op = good;
  op.g = b.zeros(DType::f32, {5});
  expect_rejected(op, "g: expected shape [4], got [5]");
  op = good;
  op.grad_scale = b.zeros(DType::f32, {1});
  expect_rejected(op, "grad_scale: expected dtype f64");
  op = good;
  op.w_compute = g;
  expect_rejected(op, "w_compute: [4] f32 overlaps g");
  op = good;
  op.g = b.zeros(DType::bf16, {4});  // well formed, but not for the CPU
  expect_rejected(op, "the CPU backend computes in f32 or f64, got bf16");
}

TEST(SumSquares, AccumulatesInDouble) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    for (std::int64_t n : {0, 1, 31, 33, 50003}) {
      const Tensor x = b.normal(dtype, {n}), out = b.zeros(DType::f64, {1});
      set(out, 0, 2.0);
      run(SumSquares{.x = x, .out = out});
      EXPECT_NEAR(get(out, 0), 2.0 + dot(x, x), 1e-12 * (1 + dot(x, x)));
      const Tensor again = b.zeros(DType::f64, {1});
      set(again, 0, 2.0);
      run(SumSquares{.x = x, .out = again});
      EXPECT_TRUE(bit_equal(out, again));
    }
  }
  const Tensor tiny = b.zeros(DType::f32, {3}), out = b.zeros(DType::f64, {1});
  run(Fill{.x = tiny, .value = 1e-30});
  run(SumSquares{.x = tiny, .out = out});  // the squares are below the range of float
  EXPECT_NEAR(get(out, 0), 3e-60, 1e-66);
}

TEST(ClipScale, ScalesOnlyAboveTheLimit) {
  Buffers b;
  const Tensor squares = b.zeros(DType::f64, {1}), norm = b.poisoned(DType::f64, {1}),
               scale = b.poisoned(DType::f64, {1});
  auto clip = [&](double sum, double max_norm) {
    set(squares, 0, sum);
    run(ClipScale{.sum_squares = squares, .norm = norm, .scale = scale, .max_norm = max_norm});
    return get(scale, 0);
  };
  EXPECT_EQ(clip(16.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_EQ(get(norm, 0), 4.0);
  EXPECT_EQ(clip(0.25, 1.0), 1.0);
  EXPECT_EQ(clip(0.0, 1.0), 1.0);
  EXPECT_EQ(clip(16.0, 0.0), 1.0);
  EXPECT_EQ(clip(16.0, -1.0), 1.0);
}

TEST(ClipScale, RejectsMalformed) {
  Buffers b;
  const Tensor one = b.zeros(DType::f64, {1}), two = b.zeros(DType::f64, {2});
  expect_rejected(ClipScale{.sum_squares = one, .norm = one, .scale = one},
                  "norm: [1] f64 overlaps");
  expect_rejected(ClipScale{.sum_squares = two, .norm = one, .scale = one},
                  "sum_squares: expected shape [1]");
  expect_rejected(SumSquares{.x = two, .out = b.zeros(DType::f32, {1})}, "out: expected dtype f64");
  expect_rejected(SumSquares{.x = two, .out = two.slice(0, 0, 1)}, "out: [1] f64 overlaps x");
}

TEST(StepGuard, StopsAStepWhoseLossOrNormIsNoNumberOrTooLarge) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::tuple<double, double, double, double, bool> cases[] = {
      {3, 2, kInfinity, kInfinity, true},
      {3, 2, 3, 2, true},
      {3, 2, 2.9, 2, false},
      {3, 2, 3, 1.9, false},
      {nan, 2, kInfinity, 9, false},
      {3, nan, 9, kInfinity, false},
      {kInfinity, 2, kInfinity, 9, false},
      {3, kInfinity, 9, kInfinity, false}};
  for (const auto& [loss, norm, most_loss, most_norm, moves] : cases) {
    Buffers b;
    const Tensor limits = b.zeros(DType::f64, {2});
    set(limits, 0, most_loss);
    set(limits, 1, most_norm);
    const Tensor at = b.zeros(DType::f64, {2}), rates = rates_at(b, 5);
    set(at, 0, loss);
    set(at, 1, norm);
    run(StepGuard{
        .loss = at.slice(0, 0, 1), .norm = at.slice(0, 1, 1), .limits = limits, .rates = rates});
    EXPECT_EQ(values(rates)[3], moves ? 5 : 0) << loss << " " << norm;
    EXPECT_EQ(values(rates)[0], kLr);
  }
}

TEST(StepGuard, AStepOfNumberZeroMovesNothing) {
  Buffers b;
  const Tensor start = b.normal(DType::f64, {40});
  const Tensor rates = rates_at(b, 0), clip = b.zeros(DType::f64, {1});
  set(clip, 0, std::numeric_limits<double>::quiet_NaN());
  const State state(b, start, DType::f64);
  run(AdamW{.w = state.w,
            .g = b.normal(DType::f64, {40}),
            .m = state.m,
            .v = state.v,
            .grad_scale = clip,
            .rates = rates});
  EXPECT_EQ(values(state.w), values(start));
  EXPECT_EQ(values(state.m), std::vector<double>(40, 0.0));
  EXPECT_EQ(values(state.v), std::vector<double>(40, 0.0));
}

}  // namespace
}  // namespace strait::kernels
