#include "kernels/activation.h"
#include "kernels/depth_average.h"
#include "kernels/norm.h"
#include "kernels/residual_scale.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;
constexpr std::int64_t kRouterWidth = 256;

Tensor vector_of(Pool& pool, std::int64_t width = kWidth, DType dtype = kBf16) {
  return pool.normal(dtype, {width});
}

/// The residual stream in float32 beside branches in bf16.
void add_residual_scales(std::vector<Case>& cases) {
  cases.push_back(op_case("ResidualScaleFwd, f32 stream", "16384 x 2048", [](Pool& pool) {
    return kernels::ResidualScaleFwd{.x = pool.normal(kF32, {kTokens, kWidth}),
                                     .x_scale = vector_of(pool),
                                     .x_bias = vector_of(pool),
                                     .delta = pool.normal(kBf16, {kTokens, kWidth}),
                                     .delta_scale = vector_of(pool),
                                     .delta_bias = vector_of(pool),
                                     .y = pool.raw(kF32, {kTokens, kWidth})};
  }));
  cases.push_back(op_case("RmsNormFwd of a scaled sum, f32 stream", "16384 x 2048", [](Pool& pool) {
    return kernels::RmsNormFwd{.x = pool.normal(kF32, {kTokens, kWidth}),
                               .delta = pool.normal(kBf16, {kTokens, kWidth}),
                               .w = vector_of(pool),
                               .scales = {.x_scale = vector_of(pool),
                                          .x_bias = vector_of(pool),
                                          .delta_scale = vector_of(pool),
                                          .delta_bias = vector_of(pool)},
                               .sum = pool.raw(kF32, {kTokens, kWidth}),
                               .y = pool.raw(kBf16, {kTokens, kWidth}),
                               .rstd = pool.raw(kF32, {kTokens})};
  }));
  cases.push_back(op_case("ResidualScaleBwd, f32 stream", "16384 x 2048", [](Pool& pool) {
    const auto sum = [&] { return vector_of(pool, kWidth, kF32); };
    return kernels::ResidualScaleBwd{.dy = pool.normal(kBf16, {kTokens, kWidth}),
                                     .x = pool.normal(kF32, {kTokens, kWidth}),
                                     .x_scale = vector_of(pool),
                                     .x_bias = vector_of(pool),
                                     .delta = pool.normal(kBf16, {kTokens, kWidth}),
                                     .delta_scale = vector_of(pool),
                                     .delta_bias = vector_of(pool),
                                     .dx = pool.raw(kBf16, {kTokens, kWidth}),
                                     .ddelta = pool.raw(kBf16, {kTokens, kWidth}),
                                     .dx_scale = sum(),
                                     .dx_bias = sum(),
                                     .ddelta_scale = sum(),
                                     .ddelta_bias = sum()};
  }));
}

/// Routers compute in float32.
void add_router_parts(std::vector<Case>& cases) {
  const auto state = [](Pool& pool) { return pool.normal(kF32, {kTokens, kRouterWidth}); };
  const auto row = [](Pool& pool) { return vector_of(pool, kRouterWidth, kF32); };
  cases.push_back(op_case("GeluFwd", "16384 x 256, f32", [=](Pool& pool) {
    return kernels::GeluFwd{.x = state(pool), .bias = row(pool), .y = state(pool)};
  }));
  cases.push_back(op_case("GeluBwd", "16384 x 256, f32", [=](Pool& pool) {
    return kernels::GeluBwd{.dy = state(pool),
                            .x = state(pool),
                            .bias = row(pool),
                            .dx = state(pool),
                            .dbias = row(pool)};
  }));
  cases.push_back(op_case("DepthAverageFwd", "16384 x 256, f32", [=](Pool& pool) {
    return kernels::DepthAverageFwd{.x = state(pool),
                                    .bias = row(pool),
                                    .previous = state(pool),
                                    .gamma = row(pool),
                                    .y = state(pool)};
  }));
  cases.push_back(op_case("DepthAverageBwd", "16384 x 256, f32", [=](Pool& pool) {
    return kernels::DepthAverageBwd{.dy = state(pool),
                                    .previous = state(pool),
                                    .gamma = row(pool),
                                    .dprevious = state(pool),
                                    .dbias = row(pool),
                                    .dgamma = row(pool)};
  }));
}

}  // namespace

std::vector<Case> zaya_cases() {
  std::vector<Case> cases;
  add_residual_scales(cases);
  add_router_parts(cases);
  return cases;
}

}  // namespace strait::bench
