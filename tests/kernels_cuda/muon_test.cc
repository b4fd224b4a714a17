#include "kernels/muon.h"
#include "kernels/gemm.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaMuon : public DeviceTest {};

struct Shape {
  std::int64_t n, rows, columns;
};

constexpr Shape kShapes[] = {{1, 1, 1}, {3, 5, 7}, {2, 64, 48}, {1, 300, 520}};

/// The last `rows` of wider matrices, as a part of a fused parameter lies.
Tensor part(const Tensor& fused, std::int64_t rows) {
  return fused.slice(1, fused.shape[1] - rows, rows);
}

TEST_F(CudaMuon, Momentum) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const auto& [n, rows, columns] : kShapes) {
      for (const bool nesterov : {true, false}) {
        SCOPED_TRACE(rows);
        compare_op(storage, [&](Side& s) {
          return MuonMomentum{
              .g = part(s.input("g", {n, rows + 3, columns}, {.stat = true}), rows),
              .m = part(s.in_out("m", {n, rows + 3, columns}, {.stat = true}), rows),
              .u = s.output("u", {n, rows, columns}),
              .grad_scale = s.values("scale", {0.37}, {1}, {.f64 = true}),
              .rates = s.values("rates", {0.01, 1, 1, 5}, {4}, {.f64 = true}),
              .nesterov = nesterov};
        });
      }
    }
  }
}

TEST_F(CudaMuon, FrobeniusScale) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const auto& [n, rows, columns] : kShapes) {
      SCOPED_TRACE(rows);
      compare_op(storage, [&](Side& s) {
        return FrobeniusScale{.x = s.in_out("x", {n, rows, columns})};
      });
    }
  }
}

TEST_F(CudaMuon, NewtonSchulzFactor) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t side : {1, 7, 48, 200, 256}) {
      SCOPED_TRACE(side);
      compare_op(storage, [&](Side& s) {
        return NewtonSchulzFactor{.gram = s.input("gram", {3, side, side}),
                                  .square = s.in_out("square", {3, side, side}),
                                  .a = 3.4445,
                                  .b = -4.775,
                                  .c = 2.0315};
      });
    }
  }
}

struct Product {
  std::int64_t n, rows, columns;
};

// Small and odd sides, and those that the Hopper kernel's tiles of 128 x 256 cut in all ways.
constexpr Product kProducts[] = {{1, 1, 1},      {3, 5, 7},     {40, 24, 16},   {5, 96, 64},
                                 {2, 64, 320},   {3, 136, 200}, {2, 448, 1000}, {1, 520, 128},
                                 {2, 1096, 520}, {1, 72, 2056}};

TEST_F(CudaMuon, SymmetricProduct) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const auto& [n, rows, columns] : kProducts) {
      for (const bool trans : {false, true}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << columns << " " << trans);
        const std::int64_t side = trans ? columns : rows;
        compare_op(storage, [&](Side& s) {
          return SymmetricProduct{.x = s.input("x", {n, rows, columns}),
                                  .c = s.output("c", {n, side, side}),
                                  .trans = trans};
        });
      }
    }
  }
}

/// Zeros for what lies above the diagonal, which may be anything.
void clear_above(strait::test::Buffers& b, std::vector<Side::Result>& results) {
  for (Side::Result& r : results) {
    if (r.name != "c") continue;
    const Tensor half = b.converted(r.view, r.view.dtype);
    const std::int64_t side = half.shape[1];
    for (std::int64_t i = 0; i < half.numel(); ++i) {
      if (i / side % side < i % side) set(half, i, 0);
    }
    r.view = half;
  }
}

TEST_F(CudaMuon, HalfOfASymmetricProduct) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const bool trans : {false, true}) {
      strait::test::Buffers b;
      compare_op(
          storage,
          [&](Side& s) {
            return SymmetricProduct{.x = s.input("x", {3, 264, 264}),
                                    .c = s.in_out("c", {3, 264, 264}),
                                    .trans = trans,
                                    .mirror = false};
          },
          {},
          [&](Draw& draw) {
            for (auto* results : {&draw.wide, &draw.naive, &draw.device}) clear_above(b, *results);
          });
    }
  }
}

TEST_F(CudaMuon, Update) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const auto& [n, rows, columns] : kShapes) {
      for (const bool along : {true, false}) {
        SCOPED_TRACE(rows);
        compare_op(storage, [&](Side& s) {
          MuonUpdate op{.w = part(s.in_out("w", {n, rows + 3, columns}, {.stat = true}), rows),
                        .o = s.input("o", {n, rows, columns}),
                        .rates = s.values("rates", {0.01, 1, 1, 5}, {4}, {.f64 = true}),
                        .scale = 3,
                        .decay = 0.1};
          if (along) op.w_compute = s.output("w_compute", {n, rows, columns});
          return op;
        });
      }
    }
  }
}

TEST_F(CudaMuon, EvenOffsets) {
  for (const std::int64_t count : {1, 5, 1000}) {
    compare_op(DType::f32, [&](Side& s) {
      return EvenOffsets{.offsets = s.int_output("offsets", {count}), .rows = 37};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
