#include "kernels/permute.h"

#include <gtest/gtest.h>

#include "kernels/launch.h"
#include "tests/support/tensors.h"

namespace strait::kernels {
namespace {

using test::bit_equal;
using test::Buffers;
using test::get;

/// Choices of T tokens among E experts with the tensors MoeSort writes.
struct Sorted {
  Sorted(Buffers& b, const std::vector<std::int32_t>& choices, std::int64_t tokens,
         std::int64_t experts)
      : chosen(static_cast<std::int64_t>(choices.size()) / tokens),
        expert(b.ints(choices, {tokens, chosen})),
        offsets(b.poisoned(DType::i32, {experts + 1})),
        row_of(b.poisoned(DType::i32, {tokens, chosen})),
        choice_of(b.poisoned(DType::i32, {tokens * chosen})) {
    launch(MoeSort{.expert = expert, .offsets = offsets, .row_of = row_of, .choice_of = choice_of},
           Stream{});
  }
  std::int64_t chosen;
  Tensor expert, offsets, row_of, choice_of;
};

std::vector<std::int32_t> random_choices(Buffers& b, std::int64_t count, std::int64_t experts) {
  std::vector<std::int32_t> out(count);
  for (auto& e : out) e = static_cast<std::int32_t>(b.below(experts));
  return out;
}

/// Columns [first, first + width) of a wider buffer: rows are strided.
Tensor columns(const Tensor& wide, std::int64_t first, std::int64_t width) {
  return wide.slice(1, first, width);
}

TEST(MoeSort, MatchesHandComputedOrder) {
  Buffers b;
  const Sorted s(b, {2, 0, 0, 2, 3, 0}, 3, 5);
  EXPECT_EQ(test::values(s.offsets), (std::vector<double>{0, 3, 3, 5, 6, 6}));
  EXPECT_EQ(test::values(s.choice_of), (std::vector<double>{1, 2, 5, 0, 3, 4}));
  EXPECT_EQ(test::values(s.row_of), (std::vector<double>{3, 0, 1, 4, 5, 2}));
}

TEST(MoeSort, IsStableAndABijection) {
  Buffers b;
  const std::int64_t tokens = 37, experts = 7;
  const Sorted s(b, random_choices(b, tokens * 3, experts), tokens, experts);
  EXPECT_EQ(get(s.offsets, experts), tokens * 3);
  for (std::int64_t e = 0; e < experts; ++e) {
    double previous = -1;
    for (auto r = static_cast<std::int64_t>(get(s.offsets, e)); r < get(s.offsets, e + 1); ++r) {
      const auto choice = static_cast<std::int64_t>(get(s.choice_of, r));
      EXPECT_EQ(get(s.expert, choice), e);
      EXPECT_EQ(get(s.row_of, choice), r);
      EXPECT_GT(choice, previous) << "order inside expert " << e;
      previous = static_cast<double>(choice);
    }
  }
}

TEST(MoeSort, AllTokensOnOneExpertKeepTheirOrder) {
  Buffers b;
  const Sorted s(b, std::vector<std::int32_t>(9, 2), 9, 4);
  EXPECT_EQ(test::values(s.offsets), (std::vector<double>{0, 0, 0, 9, 9}));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(get(s.choice_of, i), i);
}

TEST(MoeSort, SingleExpert) {
  Buffers b;
  const Sorted s(b, {0}, 1, 1);
  EXPECT_EQ(test::values(s.offsets), (std::vector<double>{0, 1}));
}

TEST(MoePermute, CopiesTheTokenOfEachRowBitForBit) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Buffers b;
    const std::int64_t tokens = 11, width = 5;
    const Sorted s(b, random_choices(b, tokens * 2, 4), tokens, 4);
    const Tensor x = columns(b.normal(dtype, {tokens, width + 3}), 2, width);
    const Tensor y = columns(b.poisoned(dtype, {tokens * 2, width + 1}), 1, width);
    launch(MoePermute{.x = x, .choice_of = s.choice_of, .y = y}, Stream{});
    for (std::int64_t r = 0; r < tokens * 2; ++r) {
      const auto token = static_cast<std::int64_t>(get(s.choice_of, r)) / 2;
      for (std::int64_t d = 0; d < width; ++d) {
        EXPECT_EQ(get(y, r * width + d), get(x, token * width + d));
      }
    }
  }
}

TEST(MoeCombine, UnweightedIsTheAdjointOfPermute) {
  Buffers b;
  const std::int64_t tokens = 13, width = 7;
  const Sorted s(b, random_choices(b, tokens * 3, 5), tokens, 5);
  const Tensor x = b.normal(DType::f64, {tokens, width});
  const Tensor dy = b.normal(DType::f64, {tokens * 3, width});
  const Tensor y = b.poisoned(DType::f64, {tokens * 3, width});
  const Tensor dx = b.poisoned(DType::f64, {tokens, width});
  launch(MoePermute{.x = x, .choice_of = s.choice_of, .y = y}, Stream{});
  launch(MoeCombineFwd{.x = dy, .row_of = s.row_of, .y = dx}, Stream{});
  EXPECT_NEAR(test::dot(y, dy), test::dot(x, dx), 1e-12 * std::abs(test::dot(y, dy)) + 1e-12);
}

TEST(MoeCombine, AddsWeightedRowsToTheBase) {
  Buffers b;
  const Sorted s(b, {1, 0, 0, 1}, 2, 2);
  const Tensor x = b.normal(DType::f64, {4, 3}), weight = b.normal(DType::f64, {2, 2});
  const Tensor base = b.normal(DType::f64, {2, 3}), y = b.poisoned(DType::f64, {2, 3});
  MoeCombineFwd op{.x = x, .row_of = s.row_of, .weight = weight, .base = base, .y = y};
  launch(op, Stream{});
  for (std::int64_t t = 0; t < 2; ++t) {
    for (std::int64_t d = 0; d < 3; ++d) {
      double want = get(base, t * 3 + d);
      for (std::int64_t k = 0; k < 2; ++k) {
        const auto row = static_cast<std::int64_t>(get(s.row_of, t * 2 + k));
        want += get(weight, t * 2 + k) * get(x, row * 3 + d);
      }
      EXPECT_NEAR(get(y, t * 3 + d), want, 1e-15 * 8);
    }
  }
  op.y = base;  // in place over the shared experts' output
  launch(op, Stream{});
  EXPECT_TRUE(bit_equal(base, y));
}

/// Sizes of one combine gradient check.
struct Sizes {
  std::int64_t tokens, chosen, experts, width;
};

class MoeCombineGradient : public testing::TestWithParam<Sizes> {};

TEST_P(MoeCombineGradient, MatchesFiniteDifferences) {
  const Sizes n = GetParam();
  Buffers b;
  const Sorted s(b, random_choices(b, n.tokens * n.chosen, n.experts), n.tokens, n.experts);
  const std::int64_t rows = n.tokens * n.chosen;
  const Tensor x = columns(b.normal(DType::f64, {rows, n.width + 2}), 1, n.width);
  const Tensor weight = b.normal(DType::f64, {n.tokens, n.chosen});
  const Tensor dy = b.normal(DType::f64, {n.tokens, n.width});
  const Tensor y = b.poisoned(DType::f64, {n.tokens, n.width});
  const Tensor dx = b.poisoned(DType::f64, {rows, n.width});
  const Tensor dweight = b.poisoned(DType::f64, {n.tokens, n.chosen});
  auto loss = [&] {
    launch(MoeCombineFwd{.x = x, .row_of = s.row_of, .weight = weight, .y = y}, Stream{});
    return test::dot(y, dy);
  };
  MoeCombineBwd backward{
      .dy = dy, .x = x, .choice_of = s.choice_of, .weight = weight, .dx = dx, .dweight = dweight};
  launch(backward, Stream{});
  EXPECT_LE(test::gradient_error(x, dx, loss), 1e-6);
  EXPECT_LE(test::gradient_error(weight, dweight, loss), 1e-6);

  const Tensor again = b.poisoned(DType::f64, {n.tokens, n.chosen});
  backward.dweight = again;
  backward.dx = x;  // in place
  launch(backward, Stream{});
  EXPECT_TRUE(bit_equal(x, dx));
  EXPECT_TRUE(bit_equal(again, dweight));
}

INSTANTIATE_TEST_SUITE_P(Sizes, MoeCombineGradient,
                         testing::Values(Sizes{5, 2, 3, 4}, Sizes{1, 1, 1, 1}, Sizes{7, 3, 9, 5},
                                         Sizes{6, 4, 4, 1}, Sizes{3, 1, 8, 17}));

/// Wide rows run in parallel, their columns alone do not: both must give the same bits.
TEST(MoeParallel, WholeEqualsColumnsBitForBit) {
  Buffers b;
  const std::int64_t tokens = 64, width = 512, piece = 32;
  const Sorted s(b, random_choices(b, tokens * 2, 5), tokens, 5);
  const Tensor x = b.normal(DType::f32, {tokens, width}),
               weight = b.normal(DType::f32, {tokens, 2});
  const Tensor rows = b.poisoned(DType::f32, {tokens * 2, width});
  const Tensor y = b.poisoned(DType::f32, {tokens, width});
  auto permute = [&](const ConstTensor& from, const Tensor& to) {
    launch(MoePermute{.x = from, .choice_of = s.choice_of, .y = to}, Stream{});
  };
  auto combine = [&](const ConstTensor& from, const Tensor& to) {
    launch(MoeCombineFwd{.x = from, .row_of = s.row_of, .weight = weight, .y = to}, Stream{});
  };
  auto backward = [&](const ConstTensor& dy, const ConstTensor& from, const Tensor& dx) {
    launch(MoeCombineBwd{.dy = dy,
                         .x = from,
                         .choice_of = s.choice_of,
                         .weight = weight,
                         .dx = dx,
                         .dweight = b.poisoned(DType::f32, {tokens, 2})},
           Stream{});
  };
  const Tensor dx = b.poisoned(DType::f32, {tokens * 2, width});
  permute(x, rows);
  combine(rows, y);
  backward(y, rows, dx);
  for (std::int64_t first = 0; first < width; first += piece) {
    const Tensor part_rows = b.poisoned(DType::f32, {tokens * 2, piece});
    const Tensor part_y = b.poisoned(DType::f32, {tokens, piece});
    const Tensor part_dx = b.poisoned(DType::f32, {tokens * 2, piece});
    permute(columns(x, first, piece), part_rows);
    combine(part_rows, part_y);
    backward(part_y, part_rows, part_dx);
    EXPECT_TRUE(bit_equal(part_rows, columns(rows, first, piece)));
    EXPECT_TRUE(bit_equal(part_y, columns(y, first, piece)));
    EXPECT_TRUE(bit_equal(part_dx, columns(dx, first, piece)));
  }
}

TEST(MoePermuteCheck, NamesTheFieldThatIsWrong) {
  Buffers b;
  const Sorted s(b, {0, 1, 1, 0}, 2, 2);
  const Tensor x = b.normal(DType::f32, {2, 3}), rows = b.normal(DType::f32, {4, 3});
  auto message = [](const auto& op) -> std::string {
    try {
      launch(op, Stream{.device = Device::plan});
    } catch (const OpError& error) {
      return error.what();
    }
    return "accepted";
  };
  const Tensor narrow = b.normal(DType::f32, {4, 2}), wide = b.normal(DType::f64, {4, 3});
  const Tensor three = b.normal(DType::f32, {3, 3});
  EXPECT_NE(message(MoePermute{x, s.choice_of, narrow}).find("y: expected shape [4, 3]"),
            std::string::npos);
  EXPECT_NE(message(MoePermute{x, s.choice_of, wide}).find("f32"), std::string::npos);
  EXPECT_NE(message(MoePermute{three, s.choice_of, rows}).find("experts per token"),
            std::string::npos);
  EXPECT_NE(message(MoeCombineFwd{.x = rows, .row_of = s.row_of, .y = rows.slice(0, 1, 2)})
                .find("overlap"),
            std::string::npos);
  EXPECT_NE(message(MoeSort{s.expert, s.offsets.slice(0, 0, 1), s.row_of, s.choice_of})
                .find("experts + 1"),
            std::string::npos);
  EXPECT_EQ(message(MoePermute{x, s.choice_of, rows}), "accepted");
}

}  // namespace
}  // namespace strait::kernels
