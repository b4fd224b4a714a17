#include "kernels/routing.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::int64_t tokens, sequences, experts, chosen;
  RouterRule rule;
  double aux = 0, z = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const RouterRule kSoftmax{};
const RouterRule kSoftmaxUnit{.renormalise = true};
const RouterRule kSigmoid{.score = RouterScore::sigmoid};
const RouterRule kDeepseek{
    .score = RouterScore::sigmoid, .renormalise = true, .groups = 8, .top_groups = 4, .scale = 2.5};
const RouterRule kGroupsOfOne{.score = RouterScore::sigmoid, .groups = 6, .top_groups = 4};

std::vector<Case> cases() {
  return {
      {"softmax", 113, 1, 5, 2, kSoftmax, 0, 0},
      {"softmax_unit", 799, 17, 16, 4, kSoftmaxUnit, 0.7, 0.3},
      {"sigmoid", 60, 2, 33, 3, kSigmoid, 0.7, 0.3},
      {"deepseek", 64, 2, 256, 8, kDeepseek, 0.7, 0},
      {"groups_of_one", 24, 1, 6, 3, kGroupsOfOne, 0, 0.3},
      {"top_1", 240, 2, 16, 1, {.scale = 0.5}, 0.1, 0.1},
      {"all_experts", 50, 5, 4, 4, kSoftmax, 0.1, 0.1},
      {"one_expert", 30, 1, 1, 1, kSigmoid, 0.1, 0.1},
      {"one_token", 1, 1, 3, 2, {.score = RouterScore::sigmoid, .renormalise = true}, 0.1, 0.1},
      {"most_experts", 40, 1, 512, 64, kSoftmaxUnit, 0.1, 0.1},
  };
}

/// Logits with 0.3 between any two of a token, so that rounding cannot reorder them; the same on
/// every side.
Tensor logits(Side& s, const Case& c) {
  strait::test::Buffers random(
      static_cast<std::uint64_t>(c.tokens + 1000 * c.experts + 1000000 * s.draw()));
  std::vector<double> values;
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    std::vector<double> step(c.experts);
    std::iota(step.begin(), step.end(), -0.5 * static_cast<double>(c.experts));
    for (std::int64_t e = c.experts - 1; e > 0; --e) std::swap(step[e], step[random.below(e + 1)]);
    const double gap = c.experts > 64 ? 0.03 : 0.3;
    for (const double x : step) values.push_back(gap * (x + 1e-3 * random.below(100)));
  }
  return s.values("logits", values, {c.tokens, c.experts}, {.stat = true});
}

RouteFwd forward(Side& s, const Case& c) {
  return {.logits = logits(s, c),
          .scores = s.output("scores", {c.tokens, c.experts}, {.stat = true}),
          .expert = s.int_output("expert", {c.tokens, c.chosen}),
          .weight = s.output("weight", {c.tokens, c.chosen}, {.stat = true}),
          .counts = s.int_output("counts", {c.experts}, DType::i64),
          .rule = c.rule};
}

/// Scores and choices of the forward in double.
struct Routed {
  Routed(const Case& c, int draw) {
    Side wide(Side::Kind::wide, DType::f32, draw);
    for (const Side::Result& r : evaluate(wide, [&](Side& s) { return forward(s, c); })) {
      const auto values = strait::test::values(r.view);
      if (r.name == "scores") scores = values;
      if (r.name == "expert") expert.assign(values.begin(), values.end());
    }
    const std::int64_t length = c.tokens / c.sequences;
    fraction.resize(c.sequences * c.experts);
    for (std::int64_t i = 0; i < c.tokens * c.chosen; ++i) {
      fraction[i / c.chosen / length * c.experts + expert[i]] +=
          1.0 / static_cast<double>(length * c.chosen);
    }
  }
  std::vector<double> scores, fraction;
  std::vector<std::int32_t> expert;
};

class CudaRoute : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaRoute, Forward) {
  compare_op(DType::f32, [&](Side& s) { return forward(s, GetParam()); });
}

/// Sequence of each token where ranks share sequences out, with padding at places.
std::vector<std::int32_t> shared_out(const Case& c) {
  std::vector<std::int32_t> sequence;
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const std::int64_t r = t * c.sequences / c.tokens;
    sequence.push_back(t % 7 == 5 ? -1 : static_cast<std::int32_t>(r));
  }
  return sequence;
}

TEST_P(CudaRoute, Fractions) {
  const Case& c = GetParam();
  for (const bool shared : {false, true}) {
    compare_op(DType::f32, [&](Side& s) {
      const Routed routed(c, s.draw());
      return RouteFraction{
          .expert = s.ints("expert", routed.expert, {c.tokens, c.chosen}),
          .sequence = shared ? s.ints("sequence", shared_out(c), {c.tokens}) : Tensor{},
          .fraction = s.output("fraction", {c.sequences, c.experts}, {.stat = true}),
          .length = shared ? 2 * c.tokens / c.sequences : 0};
    });
  }
}

RouteLosses losses(Side& s, const Case& c) {
  const Routed routed(c, s.draw());
  return {
      .logits = logits(s, c),
      .scores = s.values("scores", routed.scores, {c.tokens, c.experts}, {.stat = true}),
      .fraction = s.values("fraction", routed.fraction, {c.sequences, c.experts}, {.stat = true}),
      .aux = s.in_out("aux", {1}, {.f64 = true}),
      .z = s.in_out("z", {1}, {.f64 = true})};
}

TEST_P(CudaRoute, LossesOfSharedSequences) {
  const Case& c = GetParam();
  compare_op(DType::f32, [&](Side& s) {
    RouteLosses op = losses(s, c);
    op.sequence = s.ints("sequence", shared_out(c), {c.tokens});
    op.length = 2 * c.tokens / c.sequences;
    return op;
  });
}

TEST_P(CudaRoute, Losses) {
  compare_op(DType::f32, [&](Side& s) { return losses(s, GetParam()); });
}

TEST_P(CudaRoute, Backward) {
  const Case& c = GetParam();
  compare_op(DType::f32, [&](Side& s) {
    const Routed routed(c, s.draw());
    return RouteBwd{
        .dweight = s.input("dweight", {c.tokens, c.chosen}, {.stat = true}),
        .logits = logits(s, c),
        .scores = s.values("scores", routed.scores, {c.tokens, c.experts}, {.stat = true}),
        .expert = s.ints("expert", routed.expert, {c.tokens, c.chosen}),
        .fraction = s.values("fraction", routed.fraction, {c.sequences, c.experts}, {.stat = true}),
        .dlogits = s.output("dlogits", {c.tokens, c.experts}, {.stat = true}),
        .rule = c.rule,
        .aux_coef = c.aux,
        .z_coef = 4 * c.z,
        .z_scale = s.values("z_scale", {0.25}, {1}, {.f64 = true})};
  });
}

INSTANTIATE_TEST_SUITE_P(All, CudaRoute, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaRouting = DeviceTest;

/// One routing of given logits on the device.
std::vector<double> choices(const std::vector<double>& logits, std::int64_t chosen,
                            const RouterRule& rule, const std::vector<double>& bias = {}) {
  Side side(Side::Kind::device, DType::f32);
  const auto experts = static_cast<std::int64_t>(logits.size());
  for (const auto& r : evaluate(side, [&](Side& s) {
         RouteFwd op{.logits = s.values("logits", logits, {1, experts}),
                     .scores = s.output("scores", {1, experts}),
                     .expert = s.int_output("expert", {1, chosen}),
                     .weight = s.output("weight", {1, chosen}),
                     .counts = s.int_output("counts", {experts}, DType::i64),
                     .rule = rule};
         if (!bias.empty()) op.bias = s.values("bias", bias, {experts});
         return op;
       })) {
    if (r.name == "expert") return strait::test::values(r.view);
  }
  return {};
}

/// Routing of logits x w^T, made by the op itself or given to it.
struct Product {
  std::int64_t tokens, in, experts, chosen;

  WideLinearFwd linear(Side& s) const {
    return {.x = s.input("x", {tokens, in}),
            .w = s.input("w", {experts, in}, {.stat = true}),
            .y = s.output("logits", {tokens, experts}, {.stat = true}),
            .parts = s.output("parts", {parts_of(s.storage()) * experts, in})};
  }
  RouteFwd route(Side& s, const Tensor& logits) const {
    return {.logits = logits,
            .scores = s.output("scores", {tokens, experts}, {.stat = true}),
            .expert = s.int_output("expert", {tokens, chosen}),
            .weight = s.output("weight", {tokens, chosen}, {.stat = true}),
            .counts = s.int_output("counts", {experts}, DType::i64),
            .rule = {}};
  }
};

// Apart from the tests that racecheck runs: it fails on the library's product.
using CudaRouteOfTokens = DeviceTest;

TEST_F(CudaRouteOfTokens, MakesTheSameLogitsItself) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const Product& p : {Product{300, 512, 16, 1}, {77, 64, 17, 3}, {40, 72, 100, 8}}) {
      SCOPED_TRACE(p.experts);
      Side linear(Side::Kind::device, storage), apart(Side::Kind::device, storage),
          together(Side::Kind::device, storage);
      std::map<std::string, std::vector<double>> want;
      const auto keep = [&](const std::vector<Side::Result>& results) {
        expect_intact(results);
        for (const Side::Result& r : results) want[r.name] = strait::test::values(r.view);
      };
      keep(evaluate(linear, [&](Side& s) { return p.linear(s); }));
      keep(evaluate(apart, [&](Side& s) {
        return p.route(s,
                       s.values("logits", want["logits"], {p.tokens, p.experts}, {.stat = true}));
      }));
      const auto results = evaluate(together, [&](Side& s) {
        const WideLinearFwd product = p.linear(s);
        RouteFwd op = p.route(s, product.y);
        op.product = product;
        return op;
      });
      expect_intact(results);
      for (const Side::Result& r : results) {
        EXPECT_EQ(strait::test::values(r.view), want[r.name]) << r.name;
      }
    }
  }
}

TEST_F(CudaRouting, ForcedExpertsTakeThePlacesOfASequence) {
  const Case c{"", 60, 3, 33, 4, {.renormalise = true, .forced = 30}};
  std::vector<std::int32_t> place;
  for (std::int32_t t = 0; t < 60; ++t) place.push_back(7 * t % 50);
  for (const bool given : {false, true}) {
    compare_op(DType::f32, [&](Side& s) {
      RouteFwd op = forward(s, c);
      op.length = c.tokens / c.sequences;
      if (given) op.place = s.ints("place", place, {c.tokens});
      return op;
    });
  }
}

TEST_F(CudaRouting, TiesGoToTheLowerExpertAndGroup) {
  EXPECT_EQ(choices(std::vector<double>(8, 1.5), 3, {.groups = 4, .top_groups = 2}),
            (std::vector<double>{0, 1, 2}));
  EXPECT_EQ(choices(std::vector<double>(100, -2.0), 3, {.score = RouterScore::sigmoid}),
            (std::vector<double>{0, 1, 2}));
}

TEST_F(CudaRouting, AGroupIsJudgedByItsTwoBest) {
  const RouterRule rule{.score = RouterScore::sigmoid, .groups = 2, .top_groups = 1};
  EXPECT_EQ(choices({5, -4, -4, 4.9, 4.8, -9}, 2, rule), (std::vector<double>{3, 4}));
}

TEST_F(CudaRouting, BiasSelects) {
  EXPECT_EQ(choices({3, 1, 2}, 1, kSigmoid, {-2, 0, 0}), (std::vector<double>{2}));
}

TEST_F(CudaRouting, NotANumberStillSelectsDistinctExperts) {
  std::vector<double> chosen = choices({std::nan(""), std::nan(""), 1, std::nan("")}, 4, kSigmoid);
  std::sort(chosen.begin(), chosen.end());
  EXPECT_EQ(chosen, (std::vector<double>{0, 1, 2, 3}));
}

TEST_F(CudaRouting, BiasUpdateMovesByTheSignOfTheLack) {
  std::vector<double> count(500);
  std::iota(count.begin(), count.end(), 0);
  Side side(Side::Kind::device, DType::f32);
  Tensor counts;
  const auto results = evaluate(side, [&](Side& s) {
    counts = s.int_output("counts", {500}, DType::i64);
    std::vector<std::int64_t> values(count.begin(), count.end());
    copy_to_device(counts.data, values.data(), counts.bytes(), s.stream());
    synchronise(s.stream());
    return RouterBiasUpdate{.counts = counts, .bias = s.values("bias", count, {500}), .rate = 0.25};
  });
  // The mean is 249.5: nobody has exactly that.
  const std::vector<double> bias = strait::test::values(results.back().view);
  for (int e = 0; e < 500; ++e) EXPECT_EQ(bias[e], e + (e < 250 ? 0.25 : -0.25)) << e;
}

TEST_F(CudaRouting, BiasMovesByAdamW) {
  compare_op(DType::f32, [&](Side& s) {
    const std::vector<std::int64_t> values{70, 3, 0, 90, 41, 41, 2, 5, 900};
    const Tensor counts = s.int_output("counts", {9}, DType::i64);
    if (s.kind() == Side::Kind::device) {
      copy_to_device(counts.data, values.data(), counts.bytes(), s.stream());
      synchronise(s.stream());
    } else {
      std::copy(values.begin(), values.end(), counts.as<std::int64_t>());
    }
    return RouterBiasAdamW{.counts = counts,
                           .bias = s.in_out("bias", {9}),
                           .m = s.in_out("m", {9}, {.scale = 0.01}),
                           .v = s.values("v", std::vector<double>(9, 0.25), {9}, {.written = true}),
                           .steps = s.values("steps", {7}, {1}, {.written = true})};
  });
}

/// The backward of 37 tokens with one of 20 experts each; rows of `parts` in reverse.
RouteBwd backward_in_parts(Side& s, std::int64_t parts) {
  constexpr std::int64_t kTokens = 37, kExperts = 20;
  std::vector<std::int32_t> expert(kTokens), row_of(kTokens);
  for (std::int32_t t = 0; t < kTokens; ++t) {
    expert[static_cast<std::size_t>(t)] = 7 * t % kExperts;
    row_of[static_cast<std::size_t>(t)] = kTokens - 1 - t;
  }
  const Make stat{.stat = true};
  return {.dweight = s.input("dweight", {kTokens, 1}, stat),
          .logits = s.input("logits", {kTokens, kExperts}, stat),
          .scores = s.input("scores", {kTokens, kExperts}, stat),
          .expert = s.ints("expert", expert, {kTokens, 1}),
          .dlogits = s.output("dlogits", {kTokens, kExperts}, stat),
          .row_of = s.ints("row_of", row_of, {kTokens, 1}),
          .parts = s.output("parts", {kTokens, parts * kExperts}),
          .rule = kSigmoid};
}

TEST_F(CudaRouting, GradientsBySortedRows) {
  compare_op(DType::f32, [](Side& s) { return backward_in_parts(s, 1); });
  Side side(Side::Kind::device, DType::bf16);
  std::vector<double> dlogits, parts;
  const auto results = evaluate(side, [](Side& s) { return backward_in_parts(s, 4); });
  expect_intact(results);
  for (const auto& r : results) {
    if (r.name == "dlogits") dlogits = strait::test::values(r.view);
    if (r.name == "parts") parts = strait::test::values(r.view);
  }
  ASSERT_EQ(dlogits.size(), 37u * 20);
  ASSERT_EQ(parts.size(), 4 * dlogits.size());
  for (std::size_t t = 0; t < 37; ++t) {
    const double* row = parts.data() + (36 - t) * 80;
    for (std::size_t e = 0; e < 20; ++e) {
      const double exact = dlogits[t * 20 + e];
      EXPECT_EQ(row[20 + e], row[e]);
      EXPECT_EQ(row[40 + e], row[e]);
      // Two parts hold 16 bits.
      EXPECT_NEAR(row[e] + row[60 + e], exact, std::abs(exact) / (1 << 16)) << t << ' ' << e;
    }
  }
}

TEST_F(CudaRouting, RejectsTooManyExperts) {
  const Case c{"", 2, 1, 513, 1, kSoftmax};
  expect_unsupported(
      DType::f32, [&](Side& s) { return forward(s, c); }, "at most 512 experts");
}

}  // namespace
}  // namespace strait::kernels
