#include "kernels/permute.h"

#include <algorithm>
#include <numeric>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

/// Choices of T tokens and what MoeSort makes of them, worked out with a stable sort.
struct Choices {
  std::int64_t tokens, chosen, experts;
  std::vector<std::int32_t> expert, row_of, choice_of;

  Choices(std::int64_t t, std::int64_t k, std::int64_t e, bool skewed = false)
      : tokens(t), chosen(k), experts(e), expert(t * k), row_of(t * k), choice_of(t * k) {
    strait::test::Buffers random(static_cast<std::uint64_t>(t + 7 * e));
    for (auto& x : expert) {
      x = static_cast<std::int32_t>(skewed && random.below(10) > 0 ? e / 2 : random.below(e));
    }
    std::iota(choice_of.begin(), choice_of.end(), 0);
    std::stable_sort(choice_of.begin(), choice_of.end(),
                     [&](auto a, auto b) { return expert[a] < expert[b]; });
    for (std::size_t r = 0; r < choice_of.size(); ++r) {
      row_of[choice_of[r]] = static_cast<std::int32_t>(r);
    }
  }
  std::int64_t rows() const { return tokens * chosen; }
};

struct Case {
  std::string name;
  Choices choices;
  std::int64_t width = 64;
  Make rows = {};
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  return {
      {"one_token", Choices(1, 1, 1), 8},
      {"t113", Choices(113, 2, 7), 72},
      {"t799", Choices(799, 4, 16), 128},
      {"skewed", Choices(2500, 2, 64, true), 24},
      {"many_experts", Choices(700, 8, 512), 16},
      {"most_experts", Choices(40, 3, 1024), 8},
      {"odd_width", Choices(61, 2, 5), 61},
      {"odd_rows", Choices(50, 3, 4), 40, kOddRows},
      {"padded_rows", Choices(50, 1, 4), 2048, kPaddedRows},
  };
}

class CudaPermute : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaPermute, Sort) {
  const Choices& c = GetParam().choices;
  compare_op(DType::f32, [&](Side& s) {
    return MoeSort{.expert = s.ints("expert", c.expert, {c.tokens, c.chosen}),
                   .offsets = s.int_output("offsets", {c.experts + 1}),
                   .row_of = s.int_output("row_of", {c.tokens, c.chosen}),
                   .choice_of = s.int_output("choice_of", {c.rows()})};
  });
}

TEST_P(CudaPermute, PermuteIsExact) {
  const auto& [name, c, width, rows] = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage,
               [&, &c = c, &width = width, &rows = rows](Side& s) {
                 return MoePermute{.x = s.input("x", {c.tokens, width}, rows),
                                   .choice_of = s.ints("choice_of", c.choice_of, {c.rows()}),
                                   .y = s.output("y", {c.rows(), width}, rows)};
               },
               {.exact = true});
  }
}

MoeCombineFwd combine(Side& s, const Case& at, bool weighted) {
  const Choices& c = at.choices;
  MoeCombineFwd op{.x = s.input("x", {c.rows(), at.width}, at.rows),
                   .row_of = s.ints("row_of", c.row_of, {c.tokens, c.chosen}),
                   .y = s.output("y", {c.tokens, at.width}, at.rows)};
  if (weighted) op.weight = s.input("weight", {c.tokens, c.chosen}, {.stat = true});
  return op;
}

TEST_P(CudaPermute, Combine) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) { return combine(s, GetParam(), true); });
    compare_op(storage, [&](Side& s) { return combine(s, GetParam(), false); });
    compare_op(storage, [&](Side& s) {
      MoeCombineFwd op = combine(s, GetParam(), true);
      op.base = s.input("base", {op.y.shape[0], op.y.shape[1]}, GetParam().rows);
      return op;
    });
  }
}

TEST_P(CudaPermute, CombineOntoItsBase) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) {
      const auto& [name, c, width, rows] = GetParam();
      const Tensor y = s.in_out("y", {c.tokens, width}, rows);
      return MoeCombineFwd{.x = s.input("x", {c.rows(), width}, rows),
                           .row_of = s.ints("row_of", c.row_of, {c.tokens, c.chosen}),
                           .base = y,
                           .y = y};
    });
  }
}

TEST_P(CudaPermute, CombineBackward) {
  const auto& [name, c, width, rows] = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool in_place : {false, true}) {
      SCOPED_TRACE(in_place);
      compare_op(storage, [&, &c = c, &width = width, &rows = rows](Side& s) {
        const Tensor x = in_place ? s.in_out("x", {c.rows(), width}, rows)
                                  : s.input("x", {c.rows(), width}, rows);
        return MoeCombineBwd{.dy = s.input("dy", {c.tokens, width}, rows),
                             .x = x,
                             .choice_of = s.ints("choice_of", c.choice_of, {c.rows()}),
                             .weight = s.input("weight", {c.tokens, c.chosen}, {.stat = true}),
                             .dx = in_place ? x : s.output("dx", {c.rows(), width}, rows),
                             .dweight = s.output("dweight", {c.tokens, c.chosen}, {.stat = true})};
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaPermute, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaPermuteOps = DeviceTest;

TEST_F(CudaPermuteOps, SortRejectsTooManyExperts) {
  expect_unsupported(
      DType::f32,
      [](Side& s) {
        return MoeSort{.expert = s.ints("expert", {0}, {1, 1}),
                       .offsets = s.int_output("offsets", {1026}),
                       .row_of = s.int_output("row_of", {1, 1}),
                       .choice_of = s.int_output("choice_of", {1})};
      },
      "at most 1024 experts");
}

}  // namespace
}  // namespace strait::kernels
