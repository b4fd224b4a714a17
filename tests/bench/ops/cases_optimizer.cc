#include "kernels/optimizer.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;
constexpr std::int64_t kParameters = 200'000'000;

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
  return {adamw, squares};
}

}  // namespace strait::bench
