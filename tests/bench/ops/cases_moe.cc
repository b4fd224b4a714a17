#include <algorithm>
#include <numeric>

#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/routing.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

/// Random choices of tokens, and the rows they are sorted to.
struct Sorted {
  Sorted(std::int64_t experts, std::int64_t chosen) {
    std::mt19937 random(5);
    std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(experts) - 1);
    const auto choices = static_cast<std::size_t>(kTokens * chosen);
    expert.resize(choices);
    for (std::size_t c = 0; c < choices; ++c) {
      // The choices of one token differ.
      const auto k = static_cast<std::int32_t>(c % static_cast<std::size_t>(chosen));
      expert[c] = k == 0 ? any(random) : static_cast<std::int32_t>((expert[c - 1] + 1) % experts);
    }
    choice_of.resize(choices);
    std::iota(choice_of.begin(), choice_of.end(), 0);
    std::ranges::stable_sort(choice_of, {},
                             [&](std::int32_t c) { return expert[static_cast<std::size_t>(c)]; });
    row_of.resize(choices);
    for (std::size_t r = 0; r < choices; ++r) {
      row_of[static_cast<std::size_t>(choice_of[r])] = static_cast<std::int32_t>(r);
    }
  }
  std::vector<std::int32_t> expert, choice_of, row_of;
};

std::string shape_of(std::int64_t experts, std::int64_t chosen) {
  return "16384 tokens, " + std::to_string(chosen) + " of " + std::to_string(experts);
}

void add_moves(std::vector<Case>& cases, std::int64_t experts, std::int64_t chosen) {
  const Sorted sorted(experts, chosen);
  const std::string shape = shape_of(experts, chosen);
  const std::int64_t rows = kTokens * chosen;
  const auto tokens = [](Pool& pool) { return pool.normal(kBf16, {kTokens, kWidth}); };
  const auto permuted = [rows](Pool& pool) { return pool.normal(kBf16, {rows, kWidth}); };
  cases.push_back(op_case("MoeSort", shape, [=](Pool& pool) {
    return kernels::MoeSort{.expert = pool.ints(sorted.expert, {kTokens, chosen}),
                            .offsets = pool.raw(DType::i32, {experts + 1}),
                            .row_of = pool.raw(DType::i32, {kTokens, chosen}),
                            .choice_of = pool.raw(DType::i32, {rows})};
  }));
  cases.push_back(op_case("MoePermute", shape, [=](Pool& pool) {
    return kernels::MoePermute{
        .x = tokens(pool), .choice_of = pool.ints(sorted.choice_of, {rows}), .y = permuted(pool)};
  }));
  cases.push_back(op_case("MoeCombineFwd", shape, [=](Pool& pool) {
    return kernels::MoeCombineFwd{.x = permuted(pool),
                                  .row_of = pool.ints(sorted.row_of, {kTokens, chosen}),
                                  .weight = pool.normal(kF32, {kTokens, chosen}),
                                  .y = tokens(pool)};
  }));
  cases.push_back(op_case("RmsNormFwd with rows of experts", shape, [=](Pool& pool) {
    return kernels::RmsNormFwd{.x = pool.normal(kBf16, {kTokens, kWidth}),
                               .w = pool.normal(kBf16, {kWidth}),
                               .experts = {.rows = pool.normal(kBf16, {kTokens * chosen, kWidth}),
                                           .row_of = pool.ints(sorted.row_of, {kTokens, chosen}),
                                           .weight = pool.normal(kF32, {kTokens, chosen})},
                               .sum = pool.raw(kBf16, {kTokens, kWidth}),
                               .y = pool.raw(kBf16, {kTokens, kWidth}),
                               .rstd = pool.raw(kF32, {kTokens})};
  }));
  cases.push_back(op_case("MoeCombineBwd", shape, [=](Pool& pool) {
    return kernels::MoeCombineBwd{.dy = tokens(pool),
                                  .x = permuted(pool),
                                  .choice_of = pool.ints(sorted.choice_of, {rows}),
                                  .weight = pool.normal(kF32, {kTokens, chosen}),
                                  .dx = permuted(pool),
                                  .dweight = pool.raw(kF32, {kTokens, chosen})};
  }));
}

void add_routes(std::vector<Case>& cases, std::int64_t experts, std::int64_t chosen) {
  const Sorted sorted(experts, chosen);
  const std::string shape = shape_of(experts, chosen);
  const auto scores = [experts](Pool& pool) { return pool.normal(kF32, {kTokens, experts}); };
  const auto expert = [=](Pool& pool) { return pool.ints(sorted.expert, {kTokens, chosen}); };
  cases.push_back(op_case("RouteFwd", shape, [=](Pool& pool) {
    return kernels::RouteFwd{.logits = scores(pool),
                             .scores = scores(pool),
                             .expert = expert(pool),
                             .weight = pool.raw(kF32, {kTokens, chosen}),
                             .counts = pool.constant(DType::i64, {experts}, 0),
                             .rule = {}};
  }));
  cases.push_back(op_case("RouteFwd of tokens", shape, [=](Pool& pool) {
    const Tensor logits = pool.raw(kF32, {kTokens, experts});
    return kernels::RouteFwd{
        .logits = logits,
        .scores = pool.raw(kF32, {kTokens, experts}),
        .expert = expert(pool),
        .weight = pool.raw(kF32, {kTokens, chosen}),
        .counts = pool.constant(DType::i64, {experts}, 0),
        .product = {.x = pool.normal(kBf16, {kTokens, kWidth}),
                    .w = pool.normal(kF32, {experts, kWidth}),
                    .y = logits,
                    .parts = pool.raw(kBf16, {kernels::parts_of(kBf16) * experts, kWidth})},
        .rule = {}};
  }));
  cases.push_back(op_case("RouteFraction", shape, [=](Pool& pool) {
    return kernels::RouteFraction{.expert = expert(pool), .fraction = pool.raw(kF32, {4, experts})};
  }));
  cases.push_back(op_case("RouteLosses", shape, [=](Pool& pool) {
    return kernels::RouteLosses{.logits = scores(pool),
                                .scores = scores(pool),
                                .fraction = pool.constant(kF32, {4, experts}, 1),
                                .aux = pool.constant(DType::f64, {1}, 0),
                                .z = pool.constant(DType::f64, {1}, 0)};
  }));
  cases.push_back(op_case("RouteBwd", shape, [=](Pool& pool) {
    return kernels::RouteBwd{.dweight = pool.normal(kF32, {kTokens, chosen}),
                             .logits = scores(pool),
                             .scores = scores(pool),
                             .expert = expert(pool),
                             .fraction = pool.constant(kF32, {4, experts}, 1),
                             .dlogits = scores(pool),
                             .rule = {},
                             .aux_coef = 0.01,
                             .z_coef = 0.001};
  }));
}

}  // namespace

std::vector<Case> moe_cases() {
  std::vector<Case> cases;
  for (const std::int64_t chosen : {1, 8}) {
    add_routes(cases, chosen == 1 ? 16 : 64, chosen);
    add_moves(cases, chosen == 1 ? 16 : 64, chosen);
  }
  return cases;
}

}  // namespace strait::bench
