#include "tests/kernels_cuda/naive.h"

#include <cmath>

#include "kernels/gemm.h"
#include "tests/kernels_cuda/device_test.h"

// The naive side must compute the same functions as the specification. Needs no GPU.
namespace strait::kernels {
namespace {

using namespace test;

constexpr std::int64_t kTokens = 40, kHeads = 4, kGroups = 2, kKeyWidth = 24, kValueWidth = 16;

/// Keys seen: two documents, and a query that sees nothing.
Tensor first_keys(Side& s) {
  std::vector<std::int32_t> keys;
  for (std::int32_t t = 0; t < kTokens; ++t) keys.push_back(t < 25 ? 0 : 25);
  return s.ints("k_begin", keys, {kTokens});
}

Tensor last_keys(Side& s) {
  std::vector<std::int32_t> keys;
  for (std::int32_t t = 0; t < kTokens; ++t) keys.push_back(t == 7 ? 0 : t + 1);
  return s.ints("k_end", keys, {kTokens});
}

AttentionFwd forward(Side& s) {
  return {.q = s.input("q", {kTokens, kHeads, kKeyWidth}),
          .k = s.input("k", {kTokens, kGroups, kKeyWidth}),
          .v = s.input("v", {kTokens, kGroups, kValueWidth}),
          .k_begin = first_keys(s),
          .k_end = last_keys(s),
          .o = s.output("o", {kTokens, kHeads, kValueWidth}),
          .lse = s.output("lse", {kHeads, kTokens}, {.stat = true}),
          .scale = 0.3};
}

AttentionBwd backward(Side& s) {
  return {.dout = s.input("dout", {kTokens, kHeads, kValueWidth}),
          .q = s.input("q", {kTokens, kHeads, kKeyWidth}),
          .k = s.input("k", {kTokens, kGroups, kKeyWidth}),
          .v = s.input("v", {kTokens, kGroups, kValueWidth}),
          .o = s.input("o", {kTokens, kHeads, kValueWidth}),
          .lse = s.input("lse", {kHeads, kTokens}, {.stat = true, .mean = 3}),
          .k_begin = first_keys(s),
          .k_end = last_keys(s),
          .dq = s.output("dq", {kTokens, kHeads, kKeyWidth}),
          .dk = s.output("dk", {kTokens, kGroups, kKeyWidth}),
          .dv = s.output("dv", {kTokens, kGroups, kValueWidth}),
          .scale = 0.3};
}

/// Distances of the naive side from the specification in double lie in (least, most).
template <class Build>
void expect_distance(DType storage, Build&& build, double least, double most) {
  Side wide(Side::Kind::wide, storage), naive(Side::Kind::naive, storage);
  const auto want = evaluate(wide, build), got = evaluate(naive, build);
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!got[i].written) continue;
    std::vector<double> a = strait::test::values(got[i].view);
    std::vector<double> b = strait::test::values(want[i].view);
    for (std::size_t j = 0; j < a.size(); ++j) {
      if (std::isinf(b[j]) && a[j] == b[j]) a[j] = b[j] = 0;  // lse of what sees nothing
    }
    const double distance = strait::test::relative_l2(a, b);
    EXPECT_LT(distance, most) << got[i].name;
    if (got[i].name == "lse") continue;
    EXPECT_GT(distance, least) << got[i].name;
  }
}

TEST(Naive, AttentionIsThatOfTheSpecification) {
  expect_distance(DType::f32, forward, 0, 1e-6);
  expect_distance(DType::f32, backward, 0, 1e-6);
}

TEST(Naive, ProbabilitiesAndTheirGradientsAreRounded) {
  expect_distance(DType::bf16, forward, 2e-4, 4e-3);
  expect_distance(DType::bf16, backward, 2e-4, 4e-3);
}

TEST(Naive, ProductsAreThoseOfTheSpecification) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const bool flip : {false, true}) {
      const auto build = [&](Side& s) {
        return Gemm{.a = flip ? s.input("a", {70, 9}) : s.input("a", {9, 70}),
                    .b = flip ? s.input("b", {5, 70}) : s.input("b", {70, 5}),
                    .c = s.in_out("c", {9, 5}, {.stat = true}),
                    .trans_a = flip,
                    .trans_b = flip,
                    .accumulate = flip};
      };
      expect_distance(storage, build, 0, 1e-6);
    }
  }
}

TEST(Naive, ManySumsAreThoseOneByOne) {
  constexpr std::int64_t kLines = 37, kTerms = 70;
  strait::test::Buffers random;
  const Tensor lines = random.normal(DType::f32, {kLines, kTerms});
  const Tensor x = random.normal(DType::f32, {kTerms});
  const Panels panels({{lines.as<float>(), 1}, kTerms, kLines}, kTerms);
  for (const Sum how : {Sum::plain, Sum::truncating}) {
    for (const auto& [begin, end] : {std::pair{0, 37}, {5, 7}, {16, 32}, {30, 37}, {9, 9}}) {
      std::vector<float> dots(static_cast<std::size_t>(end - begin));
      panels.dots(x.as<float>(), begin, end, how, dots.data());
      for (std::int64_t i = begin; i < end; ++i) {
        const float one = naive_dot(x.as<float>(), lines.as<float>() + i * kTerms, kTerms, how);
        EXPECT_EQ(dots[i - begin], one) << i;
      }
    }
  }
}

TEST(Naive, TruncatedSumsLieTowardsZero) {
  // 1 + 1.75 x 2^-24 lies nearer to the float above it than to 1.
  const float a[] = {1, 0x1p-12f, 0x1p-13f}, b[] = {1, 0x1.8p-12f, 0x1p-13f};
  EXPECT_EQ(naive_dot(a, b, 3, Sum::truncating), 1.0f);
  EXPECT_EQ(naive_dot(a, b, 3, Sum::plain), 1.0f + 0x1p-23f);
  const float minus[] = {-1, -0x1p-12f, -0x1p-13f};
  EXPECT_EQ(naive_dot(minus, b, 3, Sum::truncating), -1.0f);
}

}  // namespace
}  // namespace strait::kernels
