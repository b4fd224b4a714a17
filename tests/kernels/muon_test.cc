#include "kernels/muon.h"

#include <cmath>
#include <tuple>
#include <vector>

#include "kernels/optimizer.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

constexpr double kMu = 0.9;

/// Rows [begin, begin + rows) of every matrix of a wider parameter, as a part of it lies.
Tensor part_of(const Tensor& fused, std::int64_t begin, std::int64_t rows) {
  return fused.slice(1, begin, rows);
}

Tensor factor(Buffers& b, double value) {
  const Tensor out = b.zeros(DType::f64, {1});
  set(out, 0, value);
  return out;
}

Tensor rates_at(Buffers& b, double lr, std::int64_t t = 1) {
  const Tensor rates = b.zeros(DType::f64, {4});
  set(rates, 0, lr);
  set(rates, 3, static_cast<double>(t));
  return rates;
}

MuonMomentum momentum_op(Buffers& b, DType dtype, const Tensor& g, const Tensor& m) {
  return {.g = g,
          .m = m,
          .u = b.poisoned(dtype, {g.shape[0], g.shape[1], g.shape[2]}),
          .grad_scale = factor(b, 0.5),
          .rates = rates_at(b, 0.1),
          .mu = kMu};
}

TEST(MuonMomentum, FollowsItsFormulaOnPartsOfAParameter) {
  for (const bool nesterov : {true, false}) {
    for (const std::int64_t rows : {1, 3}) {
      Buffers b;
      const Tensor g = part_of(b.normal(DType::f64, {2, 5, 7}), 1, rows),
                   m = part_of(b.normal(DType::f64, {2, 5, 7}), 1, rows);
      const std::vector<double> before = values(m);
      MuonMomentum op = momentum_op(b, DType::f64, g, m);
      op.nesterov = nesterov;
      run(op);
      for (std::int64_t i = 0; i < g.numel(); ++i) {
        const double now = kMu * before[i] + 0.5 * get(g, i);
        EXPECT_NEAR(get(m, i), now, 1e-15);
        EXPECT_NEAR(get(op.u, i), nesterov ? 0.5 * get(g, i) + kMu * now : now, 1e-15);
      }
    }
  }
}

TEST(MuonMomentum, LeavesItsNeighboursAlone) {
  Buffers b;
  const Tensor fused = b.normal(DType::f64, {2, 5, 7});
  const std::vector<double> before = values(fused);
  run(momentum_op(b, DType::f64, part_of(b.normal(DType::f64, {2, 5, 7}), 2, 2),
                  part_of(fused, 2, 2)));
  for (std::int64_t i = 0; i < fused.numel(); ++i) {
    const std::int64_t row = i / 7 % 5;
    EXPECT_EQ(get(fused, i) == before[i], row < 2 || row > 3) << i;
  }
}

/// Momentum bits of one step over `columns` of the same gradient, kept in bf16.
std::vector<std::uint16_t> narrow_step(std::int64_t begin, std::int64_t columns, std::uint64_t seed,
                                       std::int64_t t) {
  Buffers b;
  const Tensor g = b.zeros(DType::f32, {1, 1, columns}), m = b.zeros(DType::bf16, {1, 1, columns});
  for (std::int64_t i = 0; i < columns; ++i) set(g, i, 0.7);
  MuonMomentum op = momentum_op(b, DType::f32, g, m);
  op.rates = rates_at(b, 0.1, t);
  op.seed = seed;
  op.first_index = begin;
  run(op);
  const auto* bits = m.as<std::uint16_t>();
  return {bits, bits + columns};
}

TEST(MuonMomentum, NarrowStatesKeepTheMeanAndDependOnSeedStepAndPlaceAlone) {
  const std::int64_t n = 20000;
  const auto whole = narrow_step(0, n, 5, 3);
  double mean = 0;
  for (const std::uint16_t bits : whole) {
    mean += test::from_bf16(bits) / static_cast<double>(n);
  }
  // Between two neighbours, bf16 steps of 2^-9 apart: five standard errors of a coin.
  EXPECT_NEAR(mean, 0.35, 5 * 0.5 * std::ldexp(1, -9) / std::sqrt(static_cast<double>(n)));
  EXPECT_EQ(whole, narrow_step(0, n, 5, 3));
  EXPECT_NE(whole, narrow_step(0, n, 6, 3));
  EXPECT_NE(whole, narrow_step(0, n, 5, 4));
  const auto tail = narrow_step(100, n - 100, 5, 3);
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), whole.begin() + 100));
}

TEST(FrobeniusScale, GivesEveryMatrixNormOne) {
  const std::tuple<DType, double, double> cases[] = {{DType::f64, 1e-15, 1e-300},
                                                     {DType::f32, 1e-6, 1e-37}};
  for (const auto& [dtype, tolerance, eps] : cases) {
    Buffers b;
    const Tensor x = b.normal(dtype, {3, 5, 7});
    const Tensor tiny = x.slice(0, 1, 1), zero = x.slice(0, 2, 1);
    for (std::int64_t i = 0; i < 35; ++i) {
      set(tiny, i, 1e-30 * get(tiny, i));  // the squares are below the range of float
      set(zero, i, 0);
    }
    const std::vector<double> before = values(x);
    run(FrobeniusScale{.x = x, .eps = eps});
    for (const std::int64_t i : {0, 1}) {
      const Tensor one = x.slice(0, i, 1);
      EXPECT_NEAR(dot(one, one), 1, 2 * tolerance) << i;
      EXPECT_NEAR(get(one, 3) / get(one, 4), before[35 * i + 3] / before[35 * i + 4],
                  2 * tolerance * std::abs(before[35 * i + 3] / before[35 * i + 4]));
    }
    for (const double value : values(zero)) EXPECT_EQ(value, 0);
  }
}

TEST(FrobeniusScale, AddsEpsToTheNorm) {
  Buffers b;
  const Tensor x = b.zeros(DType::f64, {1, 1, 2});
  set(x, 0, 3e-7);
  set(x, 1, 4e-7);
  run(FrobeniusScale{.x = x});
  EXPECT_NEAR(get(x, 0), 3e-7 / 6e-7, 1e-15);
}

TEST(NewtonSchulzFactor, IsThePolynomialOfEachMatrixReadUpToTheDiagonal) {
  for (const std::int64_t side : {1, 4}) {
    Buffers b;
    const Tensor gram = b.normal(DType::f64, {3, side, side}),
                 square = b.normal(DType::f64, {3, side, side});
    const std::vector<double> before = values(square);
    run(NewtonSchulzFactor{.gram = gram, .square = square, .a = 3, .b = -4, .c = 2});
    for (std::int64_t i = 0; i < square.numel(); ++i) {
      const std::int64_t row = i / side % side, column = i % side;
      const std::int64_t from = row >= column ? i : i + (column - row) * (side - 1);
      EXPECT_NEAR(get(square, i), (row == column ? 3 : 0) - 4 * get(gram, from) + 2 * before[from],
                  1e-14);
    }
  }
}

TEST(MuonUpdate, DecaysByTheBaseRateAndSteps) {
  Buffers b;
  const Tensor fused = b.normal(DType::f64, {2, 5, 3}), o = b.normal(DType::f64, {2, 2, 3}),
               w = part_of(fused, 1, 2), along = part_of(b.poisoned(DType::f32, {2, 5, 3}), 1, 2);
  const std::vector<double> before = values(fused), old = values(w);
  run(MuonUpdate{
      .w = w, .o = o, .w_compute = along, .rates = rates_at(b, 0.1), .scale = 2, .decay = 0.3});
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    EXPECT_NEAR(get(w, i), old[i] * (1 - 0.1 * 0.3) - 0.1 * 2 * get(o, i), 1e-15);
    EXPECT_EQ(get(along, i), static_cast<float>(get(w, i)));
  }
  for (std::int64_t i = 0; i < fused.numel(); ++i) {
    const std::int64_t row = i / 3 % 5;
    EXPECT_EQ(get(fused, i) == before[i], row < 1 || row > 2) << i;
  }
}

TEST(EvenOffsets, CountsEqualGroups) {
  Buffers b;
  const Tensor offsets = b.poisoned(DType::i32, {4});
  run(EvenOffsets{.offsets = offsets, .rows = 5});
  EXPECT_EQ(values(offsets), (std::vector<double>{0, 5, 10, 15}));
  expect_rejected(EvenOffsets{.offsets = offsets, .rows = std::int64_t{1} << 30},
                  "exceeds 32 bits");
  expect_rejected(EvenOffsets{.offsets = b.zeros(DType::i64, {4}), .rows = 1},
                  "offsets: expected dtype i32");
}

TEST(MuonOps, RejectMalformedMomentum) {
  Buffers b;
  const Tensor g = b.zeros(DType::f32, {2, 3, 4}), m = b.zeros(DType::f32, {2, 3, 4});
  const MuonMomentum good = momentum_op(b, DType::f32, g, m);
  run(good);
  MuonMomentum op = good;
  op.mu = 1;
  expect_rejected(op, "mu: expected in [0, 1)");
  op = good;
  op.m = g;
  expect_rejected(op, "m: [2, 3, 4] f32 overlaps g");
  op = good;
  op.m = part_of(b.zeros(DType::f32, {2, 5, 4}), 0, 3);
  expect_rejected(op, "m: expected stride 12 of g in dim 0, got 20");
  op = good;
  op.m = b.zeros(DType::f64, {2, 3, 4});
  expect_rejected(op, "m: expected dtype f32");
  op = good;
  op.u = part_of(b.zeros(DType::f32, {2, 5, 4}), 0, 3);
  expect_rejected(op, "u: expected a contiguous tensor");
  op = good;
  op.u = b.zeros(DType::f64, {2, 3, 4});
  expect_rejected(op, "u: expected dtype f32");
  op = good;
  op.u = b.zeros(DType::bf16, {2, 3, 4});  // well formed, but not for the CPU
  expect_rejected(op, "the CPU backend computes in f32 or f64, got bf16");
}

TEST(MuonOps, RejectMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {2, 3, 4}), square = b.zeros(DType::f32, {2, 3, 3}),
               rates = rates_at(b, 1);
  expect_rejected(FrobeniusScale{.x = x, .eps = 0}, "eps: expected above 0");
  expect_rejected(FrobeniusScale{.x = part_of(x, 0, 2)}, "x: expected a contiguous tensor");
  expect_rejected(NewtonSchulzFactor{.gram = x, .square = x}, "gram: expected square matrices");
  expect_rejected(NewtonSchulzFactor{.gram = square, .square = square}, "overlaps gram");
  expect_rejected(MuonUpdate{.w = x, .o = x, .rates = rates}, "w: [2, 3, 4] f32 overlaps o");
  expect_rejected(MuonUpdate{.w = x, .o = square, .rates = rates},
                  "o: expected shape [2, 3, 4], got [2, 3, 3]");
}

}  // namespace
}  // namespace strait::kernels
