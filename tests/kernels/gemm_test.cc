#include "kernels/gemm.h"

#include <array>
#include <cmath>

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::int64_t m, n, k;
  bool trans_a, trans_b;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      for (auto [m, n, k] : {std::array<std::int64_t, 3>{7, 5, 3},
                             {1, 1, 1},
                             {1, 9, 4},
                             {17, 1, 33},
                             {6, 5, 0},
                             {0, 3, 2},
                             {3, 0, 2}}) {
        out.push_back({m, n, k, ta, tb});
      }
    }
  }
  return out;
}

Tensor matrix(Buffers& b, DType dtype, std::int64_t rows, std::int64_t columns, bool trans) {
  return trans ? strided_normal(b, dtype, columns, rows) : strided_normal(b, dtype, rows, columns);
}

double at(const ConstTensor& m, std::int64_t i, std::int64_t j, bool trans) {
  return trans ? get(m, j * m.shape[1] + i) : get(m, i * m.shape[1] + j);
}

/// The textbook triple loop with sums in T.
template <class T>
Tensor naive(Buffers& b, const Gemm& op) {
  const std::int64_t m = op.c.shape[0], n = op.c.shape[1], k = op.a.shape[op.trans_a ? 0 : 1];
  Tensor out = b.zeros(kDTypeOf<T>, {m, n});
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      T sum = op.bias.defined() ? static_cast<T>(get(op.bias, j)) : T(0);
      for (std::int64_t l = 0; l < k; ++l) {
        sum +=
            static_cast<T>(at(op.a, i, l, op.trans_a)) * static_cast<T>(at(op.b, l, j, op.trans_b));
      }
      set(out, i * n + j, sum);
    }
  }
  return out;
}

TEST(Gemm, MatchesTripleLoopOnStridedRows) {
  Buffers b;
  for (DType dtype : {DType::f64, DType::f32}) {
    for (const Case& s : cases()) {
      Gemm op{.a = matrix(b, dtype, s.m, s.k, s.trans_a),
              .b = matrix(b, dtype, s.k, s.n, s.trans_b),
              .c = strided_poisoned(b, dtype, s.m, s.n),
              .trans_a = s.trans_a,
              .trans_b = s.trans_b};
      run(op);
      const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
      EXPECT_LE(relative_l2(op.c, naive<double>(b, op)), tolerance);
      const Tensor before = b.converted(op.c, dtype);
      op.accumulate = true;
      run(op);
      for (std::int64_t i = 0; i < before.numel(); ++i) set(before, i, 2 * get(before, i));
      EXPECT_LE(relative_l2(op.c, before), tolerance);
      op.accumulate = false;
      op.bias = b.normal(dtype, {s.n});
      run(op);
      EXPECT_LE(relative_l2(op.c, naive<double>(b, op)), tolerance);
    }
  }
}

TEST(Gemm, LeavesBytesBetweenRowsAlone) {
  Buffers b;
  const Tensor wide = b.zeros(DType::f32, {4, 10});
  run(Gemm{.a = b.normal(DType::f32, {4, 3}),
           .b = b.normal(DType::f32, {3, 5}),
           .c = wide.slice(1, 2, 5)});
  for (std::int64_t i = 0; i < wide.numel(); ++i) {
    if (i % 10 < 2 || i % 10 >= 7) {
      EXPECT_EQ(get(wide, i), 0.0);
    } else {
      EXPECT_NE(get(wide, i), 0.0);
    }
  }
}

TEST(Gemm, LinearGradients) {
  Buffers b;
  const Tensor x = strided_normal(b, DType::f64, 5, 7), w = strided_normal(b, DType::f64, 3, 7),
               dy = b.normal(DType::f64, {5, 3}), y = b.poisoned(DType::f64, {5, 3});
  auto loss = [&] {
    run(Gemm{.a = x, .b = w, .c = y, .trans_b = true});
    return dot(dy, y);
  };
  const Tensor dx = b.poisoned(DType::f64, {5, 7}), dw = b.zeros(DType::f64, {3, 7});
  run(Gemm{.a = dy, .b = w, .c = dx});
  run(Gemm{.a = dy, .b = x, .c = dw, .trans_a = true, .accumulate = true});
  EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(w, dw, loss), kGradientTolerance);
}

TEST(Gemm, FloatErrorIsAtMostTwiceNaive) {
  Buffers b;
  Gemm op{.a = b.normal(DType::f32, {40, 300}),
          .b = b.normal(DType::f32, {50, 300}),
          .c = b.poisoned(DType::f32, {40, 50}),
          .trans_b = true};
  run(op);
  expect_like_naive(op.c, naive<float>(b, op), naive<double>(b, op));
}

TEST(Gemm, SameBitsTwice) {
  Buffers b;
  const Tensor x = b.normal(DType::f32, {130, 70}), w = b.normal(DType::f32, {90, 70});
  const Tensor first = b.poisoned(DType::f32, {130, 90}),
               second = b.poisoned(DType::f32, {130, 90});
  run(Gemm{.a = x, .b = w, .c = first, .trans_b = true});
  run(Gemm{.a = x, .b = w, .c = second, .trans_b = true});
  EXPECT_TRUE(bit_equal(first, second));
}

TEST(Gemm, RejectsMalformed) {
  Buffers b;
  const Tensor a = b.zeros(DType::f32, {4, 3}), w = b.zeros(DType::f32, {5, 3}),
               c = b.zeros(DType::f32, {4, 5});
  expect_rejected(Gemm{.a = a, .b = w, .c = c}, "b: expected shape [3, 5], got [5, 3]");
  expect_rejected(Gemm{.a = a, .b = w, .c = c.slice(0, 0, 3), .trans_b = true}, "c: expected");
  expect_rejected(Gemm{.a = a, .b = b.zeros(DType::f64, {5, 3}), .c = c, .trans_b = true},
                  "b: expected dtype f32");
  expect_rejected(Gemm{.a = b.zeros(DType::i32, {4, 3}), .b = w, .c = c, .trans_b = true},
                  "a: expected dtype f64, f32 or bf16");
  expect_rejected(Gemm{.a = a,
                       .b = w,
                       .c = c,
                       .trans_b = true,
                       .accumulate = true,
                       .bias = c.slice(0, 0, 1).view({5})},
                  "bias: not allowed with accumulate");
  expect_rejected(Gemm{.a = a, .b = a.slice(0, 0, 3), .c = a}, "c: [4, 3] f32 overlaps a");
  Tensor broadcast = a;
  broadcast.stride[0] = 0;
  expect_rejected(Gemm{.a = broadcast, .b = w, .c = c, .trans_b = true},
                  "a: rows must not overlap");
  broadcast.stride[0] = std::int64_t{1} << 31;
  expect_rejected(Gemm{.a = broadcast, .b = w, .c = c, .trans_b = true},
                  "exceeds the 32-bit sizes");
  const Tensor half = b.zeros(DType::bf16, {4, 4});
  expect_rejected(Gemm{.a = half, .b = half, .c = b.zeros(DType::bf16, {4, 4})},
                  "the CPU backend computes in f32 or f64, got bf16");
}

TEST(GroupedGemm, MatchesOneGemmPerExpert) {
  Buffers b;
  const std::vector<std::int32_t> offsets = {0, 0, 140, 141, 141, 405};  // up to three tiles
  for (bool trans : {false, true}) {
    const Tensor a = strided_normal(b, DType::f64, 405, 6),
                 c = strided_poisoned(b, DType::f64, 405, 7),
                 w = trans ? b.normal(DType::f64, {5, 7, 6}) : b.normal(DType::f64, {5, 6, 7});
    run(GroupedGemm{.a = a, .b = w, .offsets = b.ints(offsets, {6}), .c = c, .trans_b = trans});
    for (std::int64_t e = 0; e < 5; ++e) {
      const std::int64_t rows = offsets[e + 1] - offsets[e];
      const Tensor expert = w.slice(0, e, 1).view({w.shape[1], w.shape[2]});
      const Gemm one{.a = a.slice(0, offsets[e], rows),
                     .b = expert,
                     .c = c.slice(0, offsets[e], rows),
                     .trans_b = trans};
      EXPECT_LE(relative_l2(one.c, naive<double>(b, one)), 1e-14);
    }
  }
}

TEST(GroupedGemm, Gradients) {
  Buffers b;
  const Tensor offsets = b.ints({0, 3, 3, 5, 6}, {5}), x = strided_normal(b, DType::f64, 6, 3),
               w = b.normal(DType::f64, {4, 5, 3}), dy = strided_normal(b, DType::f64, 6, 5),
               y = b.poisoned(DType::f64, {6, 5});
  auto loss = [&] {
    run(GroupedGemm{.a = x, .b = w, .offsets = offsets, .c = y, .trans_b = true});
    return dot(dy, y);
  };
  const Tensor dx = b.poisoned(DType::f64, {6, 3}), dw = b.zeros(DType::f64, {4, 5, 3});
  run(GroupedGemm{.a = dy, .b = w, .offsets = offsets, .c = dx});
  const GroupedGemmWgrad wgrad{.a = dy, .b = x, .offsets = offsets, .dw = dw};
  run(wgrad);
  EXPECT_LE(gradient_error(x, dx, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(w, dw, loss), kGradientTolerance);
  const Tensor once = b.converted(dw, DType::f64);
  run(wgrad);
  for (std::int64_t i = 0; i < dw.numel(); ++i) EXPECT_EQ(get(dw, i), 2 * get(once, i));
  const Tensor assigned = b.poisoned(DType::f64, {4, 5, 3});
  run(GroupedGemmWgrad{.a = dy, .b = x, .offsets = offsets, .dw = assigned, .accumulate = false});
  EXPECT_EQ(values(assigned), values(once));
}

TEST(GroupedGemm, AddsTermOfAllExperts) {
  Buffers b;
  const Tensor offsets = b.ints({0, 2, 2, 4}, {4}), x = b.normal(DType::f64, {5, 3}),
               to = b.ints({4, 0, 1, 3, 2}, {5}), more_a = strided_normal(b, DType::f64, 5, 2);
  for (const bool trans : {false, true}) {
    const Tensor w = b.normal(DType::f64, {3, trans ? 6 : 3, trans ? 3 : 6}),
                 more_b = b.normal(DType::f64, {trans ? 6 : 2, trans ? 2 : 6}),
                 plain = b.zeros(DType::f64, {5, 6}), all = b.zeros(DType::f64, {5, 6}),
                 c = b.zeros(DType::f64, {5, 6});
    run(GroupedGemm{.a = x, .b = w, .offsets = offsets, .c = plain, .trans_b = trans});
    run(Gemm{.a = more_a, .b = more_b, .c = all, .trans_b = trans});
    run(GroupedGemm{.a = x,
                    .b = w,
                    .more_a = more_a,
                    .more_b = more_b,
                    .offsets = offsets,
                    .to = to,
                    .c = c,
                    .trans_b = trans});
    for (std::int64_t r = 0; r < 5; ++r) {
      const auto row = static_cast<std::int64_t>(get(to, r));
      for (std::int64_t j = 0; j < 6; ++j) {
        // The last row belongs to no expert.
        const double sum = r < 4 ? get(plain, r * 6 + j) + get(all, r * 6 + j) : 0;
        EXPECT_NEAR(get(c, row * 6 + j), sum, 1e-14) << r << ' ' << j;
      }
    }
  }
}

TEST(GroupedGemm, PlacesScaledRows) {
  Buffers b;
  const Tensor offsets = b.ints({0, 2, 2, 4}, {4}), x = b.normal(DType::f64, {5, 3}),
               w = b.normal(DType::f64, {3, 3, 6}), to = b.ints({4, 0, 1, 3, 2}, {5}),
               scale = b.normal(DType::f64, {5}), plain = b.zeros(DType::f64, {5, 6}),
               c = b.normal(DType::f64, {5, 6});
  run(GroupedGemm{.a = x, .b = w, .offsets = offsets, .c = plain});
  const std::vector<double> before = values(c);
  run(GroupedGemm{
      .a = x, .b = w, .offsets = offsets, .to = to, .scale = scale, .c = c, .accumulate = true});
  for (std::int64_t r = 0; r < 5; ++r) {
    const auto row = static_cast<std::int64_t>(get(to, r));
    for (std::int64_t j = 0; j < 6; ++j) {
      const double was = before[static_cast<std::size_t>(row * 6 + j)];
      // The last row belongs to no expert.
      const double added = r < 4 ? get(scale, row) * get(plain, r * 6 + j) : 0;
      // One rounding less where the compiler fuses product and sum.
      EXPECT_NEAR(get(c, row * 6 + j), added + was, 1e-15 * (1 + std::abs(added))) << r << ' ' << j;
    }
  }
}

TEST(GroupedGemm, WideWeightGradientsAreCutIntoTiles) {
  Buffers b;
  const std::vector<std::int32_t> offsets = {0, 3, 3, 7};
  const Tensor a = strided_normal(b, DType::f64, 7, 300), x = strided_normal(b, DType::f64, 7, 5),
               dw = b.zeros(DType::f64, {3, 300, 5});
  run(GroupedGemmWgrad{.a = a, .b = x, .offsets = b.ints(offsets, {4}), .dw = dw});
  for (std::int64_t e = 0; e < 3; ++e) {
    const std::int64_t rows = offsets[e + 1] - offsets[e];
    const Gemm one{.a = a.slice(0, offsets[e], rows),
                   .b = x.slice(0, offsets[e], rows),
                   .c = dw.slice(0, e, 1).view({300, 5}),
                   .trans_a = true};
    EXPECT_LE(relative_l2(one.c, naive<double>(b, one)), 1e-14);
  }
}

TEST(GroupedGemm, RowsOfNoExpertAreLeftAlone) {
  Buffers b;
  const Tensor a = b.normal(DType::f64, {5, 3}), w = b.normal(DType::f64, {2, 3, 4}),
               c = b.normal(DType::f64, {5, 4}), all = b.ints({0, 1, 3}, {3});
  for (std::int64_t i = 9; i < 15; ++i) set(a, i, std::nan(""));
  const std::vector<double> before = values(c);
  run(GroupedGemm{.a = a, .b = w, .offsets = all, .c = c});
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double now = get(c, static_cast<std::int64_t>(i));
    EXPECT_EQ(now == before[i], i >= 12) << i;
  }
  const Tensor dw = b.zeros(DType::f64, {2, 3, 4}), few = b.zeros(DType::f64, {2, 3, 4});
  run(GroupedGemmWgrad{.a = a, .b = c, .offsets = all, .dw = dw});
  run(GroupedGemmWgrad{.a = a.slice(0, 0, 3), .b = c.slice(0, 0, 3), .offsets = all, .dw = few});
  EXPECT_EQ(values(dw), values(few));
}

TEST(SymmetricProduct, IsTheProductWithTheTransposed) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const auto& [rows, columns] : {std::pair{1, 1}, {5, 3}, {3, 5}, {300, 7}, {7, 300}}) {
      for (const bool trans : {false, true}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns << " " << trans);
        Buffers b;
        const std::int64_t side = trans ? columns : rows;
        const Tensor x = b.normal(dtype, {3, rows, columns}),
                     c = b.poisoned(dtype, {3, side, side}),
                     half = b.poisoned(dtype, {3, side, side});
        run(SymmetricProduct{.x = x, .c = c, .trans = trans});
        run(SymmetricProduct{.x = x, .c = half, .trans = trans, .mirror = false});
        for (std::int64_t n = 0; n < 3; ++n) {
          const Tensor matrix = x.slice(0, n, 1).view({rows, columns});
          const Tensor product = c.slice(0, n, 1).view({side, side});
          const Gemm op{.a = matrix,
                        .b = matrix,
                        .c = b.zeros(dtype, {side, side}),
                        .trans_a = trans,
                        .trans_b = !trans};
          run(op);
          EXPECT_LE(relative_l2(product, op.c), dtype == DType::f64 ? 1e-14 : 1e-6);
          for (std::int64_t i = 0; i < side; ++i) {
            for (std::int64_t j = 0; j <= i; ++j) {
              EXPECT_EQ(get(product, i * side + j), get(product, j * side + i));
              EXPECT_EQ(get(product, i * side + j), get(half, (n * side + i) * side + j));
            }
          }
        }
      }
    }
  }
}

TEST(SymmetricProduct, RejectsMalformed) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {2, 3, 5}), c = b.zeros(DType::f32, {2, 3, 3});
  run(SymmetricProduct{.x = x, .c = c});
  expect_rejected(SymmetricProduct{.x = x, .c = c, .trans = true}, "c: expected shape [2, 5, 5]");
  expect_rejected(SymmetricProduct{.x = x, .c = b.zeros(DType::f64, {2, 3, 3})},
                  "c: expected dtype f32");
  expect_rejected(SymmetricProduct{.x = b.zeros(DType::f32, {2, 4, 5}).slice(1, 0, 3), .c = c},
                  "x: expected a contiguous tensor");
  expect_rejected(SymmetricProduct{.x = c, .c = c}, "overlaps x");
}

TEST(GroupedGemm, RejectsMalformed) {
  Buffers b;
  const Tensor a = b.zeros(DType::f32, {4, 3}), w = b.zeros(DType::f32, {2, 3, 5}),
               c = b.zeros(DType::f32, {4, 5}), offsets = b.ints({0, 1, 4}, {3});
  GroupedGemm op{.a = a, .b = w, .offsets = offsets, .c = c};
  run(op);
  op.offsets = b.ints({0, 4}, {2});
  expect_rejected(op, "offsets: expected shape [3]");
  op.offsets = b.zeros(DType::i64, {3});
  expect_rejected(op, "offsets: expected dtype i32");
  op.offsets = b.ints({0, 1, 5}, {3});
  expect_rejected(op, "offsets: expected to span 0..4 or less, got 0..5");
  op.offsets = b.ints({0, 5, 4}, {3});
  expect_rejected(op, "offsets: decrease after expert 1");
  op.offsets = offsets;
  op.trans_b = true;
  expect_rejected(op, "b: expected shape [*, 5, 3]");
  expect_rejected(GroupedGemmWgrad{.a = c, .b = a, .offsets = offsets, .dw = w},
                  "dw: expected shape [*, 5, 3]");
  op.trans_b = false;
  op.more_a = c;
  expect_rejected(op, "more_b: expected [5, 5]");
  op.more_b = b.zeros(DType::f32, {5, 5});
  op.scale = b.zeros(DType::f32, {4});
  expect_rejected(op, "scale: not allowed with more_a");
}

TEST(Gemm, WorkCountsMultiplyAddsAndEveryByteOnce) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {4, 3}), w = b.zeros(DType::f32, {5, 3}),
               y = b.zeros(DType::f32, {4, 5}), bias = b.zeros(DType::f32, {5});
  const Work plain = work(Gemm{.a = x, .b = w, .c = y, .trans_b = true, .bias = bias});
  EXPECT_EQ(plain.flops, 2.0 * 4 * 3 * 5);
  EXPECT_EQ(plain.bytes, 4.0 * (12 + 15 + 20 + 5));
  const Work added = work(Gemm{.a = x, .b = w, .c = y, .trans_b = true, .accumulate = true});
  EXPECT_EQ(added.bytes, 4.0 * (12 + 15 + 2 * 20));
  const Tensor experts = b.zeros(DType::f32, {2, 3, 5}), offsets = b.ints({0, 1, 4}, {3});
  EXPECT_EQ(work(GroupedGemm{.a = x, .b = experts, .offsets = offsets, .c = y}).flops, 120.0);
  EXPECT_EQ(work(GroupedGemmWgrad{.a = x, .b = y, .offsets = offsets, .dw = experts}).flops, 120.0);
}

}  // namespace
}  // namespace strait::kernels
