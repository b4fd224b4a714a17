#include <cmath>
#include <numeric>
#include <random>

#include "kernels/gemm.h"
#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::vector<std::int32_t> sizes;  // rows of each expert
  std::int64_t in = 64, out = 64;
  Make rows = {};

  std::vector<std::int32_t> offsets() const {
    std::vector<std::int32_t> at(sizes.size() + 1);
    std::partial_sum(sizes.begin(), sizes.end(), at.begin() + 1);
    return at;
  }
  std::int64_t experts() const { return static_cast<std::int64_t>(sizes.size()); }
  std::int64_t tokens() const { return offsets().back(); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// Sizes from 0 to `most`, many of them small.
Case random_sizes(const char* name, unsigned seed, std::size_t experts, double most) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> any(0, 1);
  const auto width = [&](unsigned most_packets) {
    return static_cast<std::int64_t>(8 * (1 + random() % most_packets));
  };
  Case c{name, std::vector<std::int32_t>(experts), width(40), width(70)};
  for (std::int32_t& size : c.sizes) {
    size = static_cast<std::int32_t>(most * std::pow(any(random), 3));
  }
  return c;
}

std::vector<Case> cases() {
  return {
      {"one_row", {1}, 8, 8},
      {"uneven", {0, 140, 1, 0, 264, 37}, 128, 192},
      {"all_on_one_expert", {0, 0, 300, 0}, 96, 136},
      {"one_row_each", std::vector<std::int32_t>(70, 1), 72, 40},
      {"mostly_empty", {3, 0, 0, 0, 0, 0, 0, 129}, 200, 64},
      {"odd_sizes", {5, 130, 0, 77}, 113, 61},
      {"odd_rows", {50, 79}, 64, 64, kOddRows},
      {"padded_rows", {128, 128, 64}, 256, 128, kPaddedRows},
      {"many_experts", std::vector<std::int32_t>(300, 2), 24, 24},
      // What the Hopper kernel tells apart: widths of its tiles, bands of rows, steps of depth.
      {"narrow_tiles", {64, 65, 128, 1}, 320, 448},
      {"all_widths", {130, 0, 63, 200}, 448, 832},
      {"band", {0, 2300, 5}, 64, 520},
      {"only_one_row", {0, 0, 1}, 512, 264},
      {"steps", {64, 63, 65, 0, 128, 127, 1, 256}, 192, 256},
      // Depths of gradients in parts.
      {"parts", {0, 9000, 3, 700}, 72, 320},
      {"parts_of_two", {5, 2600, 0, 70, 2700, 1, 64, 0, 3, 2}, 264, 136},
      random_sizes("random_a", 1, 33, 48),
      random_sizes("random_b", 2, 8, 300),
      random_sizes("random_c", 3, 70, 20),
  };
}

class CudaGroupedGemm : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaGroupedGemm, Product) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool trans_b : {false, true}) {
      SCOPED_TRACE(trans_b);
      compare_op(storage, [&](Side& s) {
        const Tensor b = trans_b ? s.input("b", {c.experts(), c.out, c.in}, c.rows)
                                 : s.input("b", {c.experts(), c.in, c.out}, c.rows);
        return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}, c.rows),
                           .b = b,
                           .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                           .c = s.output("c", {c.tokens(), c.out}, c.rows),
                           .trans_b = trans_b};
      });
    }
  }
}

/// Rows of c in another order, backwards in steps of 3 where that meets all of them.
std::vector<std::int32_t> shuffled(std::int64_t rows) {
  std::vector<std::int32_t> to(static_cast<std::size_t>(rows));
  const std::int64_t step = rows % 3 == 0 ? 1 : 3;
  for (std::int64_t r = 0; r < rows; ++r) {
    to[static_cast<std::size_t>(r)] = static_cast<std::int32_t>(rows - 1 - step * r % rows);
  }
  return to;
}

TEST_P(CudaGroupedGemm, ScatteredProduct) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool add : {false, true}) {
      SCOPED_TRACE(add);
      const auto make = add ? &Side::in_out : &Side::output;
      compare_op(storage, [&](Side& s) {
        return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}, c.rows),
                           .b = s.input("b", {c.experts(), c.out, c.in}, c.rows),
                           .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                           .to = s.ints("to", shuffled(c.tokens()), {c.tokens()}),
                           .scale = add ? Tensor{} : s.input("scale", {c.tokens()}, {.stat = true}),
                           .c = (s.*make)("c", {c.tokens(), c.out}, c.rows),
                           .trans_b = true,
                           .accumulate = add};
      });
    }
  }
}

TEST_P(CudaGroupedGemm, ProductWithTermOfAllExperts) {
  const Case& c = GetParam();
  constexpr std::int64_t kMore[] = {48, 3, 136};  // widths; the second is none of TMA
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const std::int64_t more : kMore) {
      SCOPED_TRACE(more);
      compare_op(storage, [&](Side& s) {
        return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}, c.rows),
                           .b = s.input("b", {c.experts(), c.in, c.out}, c.rows),
                           .more_a = s.input("more_a", {c.tokens(), more}, kPaddedRows),
                           .more_b = s.input("more_b", {more, c.out}, c.rows),
                           .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                           .to = s.ints("to", shuffled(c.tokens()), {c.tokens()}),
                           .c = s.output("c", {c.tokens(), c.out}, c.rows)};
      });
    }
  }
}

GroupedGemmWgrad weight_gradient(Side& s, const Case& c, bool wide, bool add = true) {
  Make dw = c.rows;
  dw.stat = wide;
  const auto make = add ? &Side::in_out : &Side::output;
  return {.a = s.input("a", {c.tokens(), c.out}, c.rows),
          .b = s.input("b", {c.tokens(), c.in}, c.rows),
          .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
          .dw = (s.*make)("dw", {c.experts(), c.out, c.in}, dw),
          .accumulate = add};
}

TEST_P(CudaGroupedGemm, WeightGradient) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) { return weight_gradient(s, GetParam(), false); });
  }
}

TEST_P(CudaGroupedGemm, WeightGradientInFloat) {
  compare_op(DType::bf16, [&](Side& s) { return weight_gradient(s, GetParam(), true); });
}

TEST_P(CudaGroupedGemm, AssignedWeightGradient) {
  for (const bool wide : {false, true}) {
    compare_op(DType::bf16, [&](Side& s) { return weight_gradient(s, GetParam(), wide, false); });
  }
  compare_op(DType::f32, [&](Side& s) { return weight_gradient(s, GetParam(), false, false); });
}

INSTANTIATE_TEST_SUITE_P(All, CudaGroupedGemm, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaGroupedGemmOps = DeviceTest;

TEST_F(CudaGroupedGemmOps, WideOutput) {
  const Case c{"", {40, 0, 90}, 64, 72};
  compare_op(DType::bf16, [&](Side& s) {
    return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}),
                       .b = s.input("b", {c.experts(), c.in, c.out}),
                       .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                       .c = s.output("c", {c.tokens(), c.out}, {.stat = true})};
  });
}

/// Standard normal values of `rows` rows, then no numbers.
std::vector<double> rows_then_nan(std::int64_t rows, std::int64_t all, std::int64_t width) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<double> values(static_cast<std::size_t>(all * width), std::nan(""));
  for (std::int64_t i = 0; i < rows * width; ++i) {
    // Exact in bf16.
    values[static_cast<std::size_t>(i)] = std::round(16 * normal(random)) / 16;
  }
  return values;
}

TEST_F(CudaGroupedGemmOps, RowsOfNoExpertAreNotRead) {
  const std::vector<std::int32_t> offsets = {0, 70, 70, 171};
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) {
      return GroupedGemmWgrad{.a = s.values("a", rows_then_nan(171, 300, 72), {300, 72}),
                              .b = s.values("b", rows_then_nan(171, 300, 64), {300, 64}),
                              .offsets = s.ints("offsets", offsets, {4}),
                              .dw = s.in_out("dw", {3, 72, 64}, {.stat = true})};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
