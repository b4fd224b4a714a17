#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/muon.h"
#include "kernels/optimizer.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;
constexpr std::int64_t kParameters = 200'000'000;

/// The matrices of an MLP: one batch of Muon.
constexpr std::int64_t kOut = kHidden, kIn = kWidth;

/// x x^T of n matrices [rows, columns], or x^T x where they are tall.
Case symmetric(std::int64_t n, std::int64_t rows, std::int64_t columns, bool mirror) {
  const std::string sizes = std::to_string(rows) + " x " + std::to_string(columns);
  Case product =
      op_case(mirror ? "SymmetricProduct" : "SymmetricProduct half",
              std::to_string(n) + " of " + sizes, [=](Pool& pool) {
                const std::int64_t side = std::min(rows, columns);
                return kernels::SymmetricProduct{.x = pool.normal(kBf16, {n, rows, columns}),
                                                 .c = pool.raw(kBf16, {n, side, side}),
                                                 .trans = rows > columns,
                                                 .mirror = mirror};
              });
  product.product = true;
  return product;
}

std::vector<Case> muon_cases() {
  const Case momentum = op_case("MuonMomentum", "5632 x 2048, f32 to bf16", [](Pool& pool) {
    return kernels::MuonMomentum{.g = pool.normal(kF32, {1, kOut, kIn}),
                                 .m = pool.normal(kF32, {1, kOut, kIn}),
                                 .u = pool.raw(kBf16, {1, kOut, kIn}),
                                 .grad_scale = pool.constant(DType::f64, {1}, 1),
                                 .rates = pool.constant(DType::f64, {4}, 0.5)};
  });
  const Case scale = op_case("FrobeniusScale", "5632 x 2048", [](Pool& pool) {
    return kernels::FrobeniusScale{.x = pool.normal(kBf16, {1, kOut, kIn})};
  });
  const Case factor = op_case("NewtonSchulzFactor", "2048 x 2048", [](Pool& pool) {
    return kernels::NewtonSchulzFactor{.gram = pool.normal(kBf16, {1, kIn, kIn}),
                                       .square = pool.normal(kBf16, {1, kIn, kIn}),
                                       .a = 0.1,
                                       .b = 0.1,
                                       .c = 0.1};
  });
  const Case update = op_case("MuonUpdate", "5632 x 2048, f32 with bf16 copy", [](Pool& pool) {
    return kernels::MuonUpdate{.w = pool.normal(kF32, {1, kOut, kIn}),
                               .o = pool.normal(kBf16, {1, kOut, kIn}),
                               .w_compute = pool.raw(kBf16, {1, kOut, kIn}),
                               .rates = pool.constant(DType::f64, {4}, 0.5),
                               .decay = 0.1};
  });
  return {momentum,
          scale,
          symmetric(16, kIn, kIn, true),
          symmetric(16, kIn, kIn, false),
          symmetric(5, kOut, kIn, true),
          symmetric(5, kIn, kOut, true),
          symmetric(64, 448, kIn, true),
          factor,
          update};
}

}  // namespace

std::vector<Case> optimizer_cases() {
  const Case adamw = op_case("AdamW", "200M, f32 with bf16 copy", [](Pool& pool) {
    return kernels::AdamW{.w = pool.normal(kF32, {kParameters}),
                          .g = pool.normal(kF32, {kParameters}),
                          .m = pool.normal(kF32, {kParameters}),
                          .v = pool.constant(kF32, {kParameters}, 1),
                          .w_compute = pool.raw(kBf16, {kParameters}),
                          .grad_scale = pool.constant(DType::f64, {1}, 1),
                          .rates = pool.constant(DType::f64, {4}, 0.5),
                          .decay = 0.1};
  });
  const Case squares = op_case("SumSquares", "200M f32", [](Pool& pool) {
    return kernels::SumSquares{.x = pool.normal(kF32, {kParameters}),
                               .out = pool.constant(DType::f64, {1}, 0)};
  });
  std::vector<Case> cases = muon_cases();
  cases.insert(cases.begin(), {adamw, squares});
  return cases;
}

}  // namespace strait::bench
