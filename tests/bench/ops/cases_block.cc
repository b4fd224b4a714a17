#include <numeric>

#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "kernels/mla.h"
#include "kernels/norm.h"
#include "kernels/qk_norm_rope.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

/// Four sequences of 4,096 tokens.
Tensor positions(Pool& pool) {
  std::vector<std::int32_t> at(kTokens);
  for (std::size_t t = 0; t < at.size(); ++t) at[t] = static_cast<std::int32_t>(t % 4096);
  return pool.ints(at, {kTokens});
}

Tensor rows(Pool& pool, std::int64_t width = kWidth) {
  return pool.normal(kBf16, {kTokens, width});
}

void add_norms(std::vector<Case>& cases) {
  for (const bool delta : {false, true}) {
    cases.push_back(op_case(delta ? "RmsNormFwd with delta" : "RmsNormFwd", "16384 x 2048",
                            [delta](Pool& pool) {
                              return kernels::RmsNormFwd{.x = rows(pool),
                                                         .delta = delta ? rows(pool) : Tensor{},
                                                         .w = pool.normal(kBf16, {kWidth}),
                                                         .sum = delta ? rows(pool) : Tensor{},
                                                         .y = rows(pool),
                                                         .rstd = pool.constant(kF32, {kTokens}, 1)};
                            }));
  }
  for (const bool residual : {false, true}) {
    cases.push_back(op_case(residual ? "RmsNormBwd with residual" : "RmsNormBwd", "16384 x 2048",
                            [residual](Pool& pool) {
                              return kernels::RmsNormBwd{
                                  .dy = rows(pool),
                                  .s = rows(pool),
                                  .w = pool.normal(kBf16, {kWidth}),
                                  .rstd = pool.constant(kF32, {kTokens}, 1),
                                  .dresidual = residual ? rows(pool) : Tensor{},
                                  .dx = rows(pool),
                                  .dw = pool.normal(kF32, {kWidth})};
                            }));
  }
}

void add_ropes(std::vector<Case>& cases) {
  const kernels::Rope rope{.dims = kHeadDim};
  for (const std::int64_t heads : {16, 4}) {
    const std::string shape = "16384 x " + std::to_string(heads) + " x 128";
    const auto fused = [heads](Pool& pool) {  // the query columns of [q | k | v]
      return rows(pool, 3 * heads * kHeadDim)
          .slice(1, 0, heads * kHeadDim)
          .split_last(heads, kHeadDim);
    };
    const auto apart = [heads](Pool& pool) {
      return pool.normal(kBf16, {kTokens, heads, kHeadDim});
    };
    cases.push_back(op_case("QkNormRopeFwd in place, rope alone", shape, [=](Pool& pool) {
      const Tensor x = fused(pool);
      return kernels::QkNormRopeFwd{.x = x, .positions = positions(pool), .y = x, .rope = rope};
    }));
    cases.push_back(op_case("QkNormRopeFwd with norm", shape, [=](Pool& pool) {
      return kernels::QkNormRopeFwd{.x = fused(pool),
                                    .w = pool.normal(kBf16, {kHeadDim}),
                                    .positions = positions(pool),
                                    .y = apart(pool),
                                    .rstd = pool.raw(kF32, {kTokens, heads}),
                                    .rope = rope};
    }));
    cases.push_back(op_case("QkNormRopeBwd in place, rope alone", shape, [=](Pool& pool) {
      const Tensor d = fused(pool);
      return kernels::QkNormRopeBwd{.dy = d, .positions = positions(pool), .dx = d, .rope = rope};
    }));
    cases.push_back(op_case("QkNormRopeBwd with norm", shape, [=](Pool& pool) {
      const Tensor d = fused(pool);
      return kernels::QkNormRopeBwd{.dy = d,
                                    .x = fused(pool),
                                    .w = pool.normal(kBf16, {kHeadDim}),
                                    .positions = positions(pool),
                                    .rstd = pool.constant(kF32, {kTokens, heads}, 1),
                                    .dx = d,
                                    .dw = pool.normal(kF32, {kHeadDim}),
                                    .rope = rope};
    }));
  }
}

void add_elementwise(std::vector<Case>& cases) {
  cases.push_back(op_case("SwigluFwd", "16384 x 5632", [](Pool& pool) {
    return kernels::SwigluFwd{.gate_up = rows(pool, 2 * kHidden), .y = rows(pool, kHidden)};
  }));
  cases.push_back(op_case("SwigluBwd", "16384 x 5632", [](Pool& pool) {
    return kernels::SwigluBwd{.dy = rows(pool, kHidden),
                              .gate_up = rows(pool, 2 * kHidden),
                              .dgate_up = rows(pool, 2 * kHidden)};
  }));
  cases.push_back(op_case("Add", "16384 x 2048", [](Pool& pool) {
    return kernels::Add{.a = rows(pool), .b = rows(pool), .y = rows(pool)};
  }));
  cases.push_back(op_case("Copy", "16384 x 2048", [](Pool& pool) {
    return kernels::Copy{.x = rows(pool), .y = rows(pool)};
  }));
  cases.push_back(op_case("Copy of columns", "16384 x 2048 of 6144", [](Pool& pool) {
    return kernels::Copy{.x = rows(pool, 3 * kWidth).slice(1, 0, kWidth), .y = rows(pool)};
  }));
  cases.push_back(op_case("Copy bf16 to f32", "16384 x 2048", [](Pool& pool) {
    return kernels::Copy{.x = rows(pool), .y = pool.raw(kF32, {kTokens, kWidth})};
  }));
  cases.push_back(op_case("Copy f32 to bf16", "16384 x 2048", [](Pool& pool) {
    return kernels::Copy{.x = pool.normal(kF32, {kTokens, kWidth}), .y = rows(pool)};
  }));
  cases.push_back(op_case("Fill", "200M f32", [](Pool& pool) {
    return kernels::Fill{.x = pool.raw(kF32, {200'000'000})};
  }));
}

void add_mla(std::vector<Case>& cases) {
  constexpr std::int64_t heads = 16, nope = 128, turned = 64, value = 128, latent = 512;
  const kernels::Rope rope{.dims = turned, .interleaved = true};
  cases.push_back(op_case("MlaAssembleFwd", "16384 x 16 x (128 + 64)", [=](Pool& pool) {
    const Tensor q = pool.normal(kBf16, {kTokens, heads, nope + turned});
    return kernels::MlaAssembleFwd{.q_up = q,
                                   .kv_up = pool.normal(kBf16, {kTokens, heads, nope + value}),
                                   .k_rope = rows(pool, latent + turned).slice(1, latent, turned),
                                   .positions = positions(pool),
                                   .q = q,
                                   .k = pool.raw(kBf16, {kTokens, heads, nope + turned}),
                                   .rope = rope};
  }));
  cases.push_back(op_case("MlaAssembleBwd", "16384 x 16 x (128 + 64)", [=](Pool& pool) {
    const Tensor dq = pool.normal(kBf16, {kTokens, heads, nope + turned});
    return kernels::MlaAssembleBwd{.dq = dq,
                                   .dk = pool.normal(kBf16, {kTokens, heads, nope + turned}),
                                   .dv = pool.normal(kBf16, {kTokens, heads, value}),
                                   .positions = positions(pool),
                                   .dq_up = dq,
                                   .dkv_up = pool.raw(kBf16, {kTokens, heads, nope + value}),
                                   .dk_rope = rows(pool, latent + turned).slice(1, latent, turned),
                                   .rope = rope};
  }));
}

}  // namespace

std::vector<Case> block_cases() {
  std::vector<Case> cases;
  add_norms(cases);
  add_ropes(cases);
  add_elementwise(cases);
  add_mla(cases);
  return cases;
}

}  // namespace strait::bench
