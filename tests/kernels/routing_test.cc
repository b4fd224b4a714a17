#include "kernels/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>

#include "kernels/launch.h"
#include "tests/support/tensors.h"

namespace strait::kernels {
namespace {

using test::bit_equal;
using test::Buffers;
using test::get;
using test::set;
using test::values;

/// One routing problem: R sequences of T / R tokens.
struct Case {
  const char* name;
  std::int64_t tokens, sequences, experts, chosen;
  RouterRule rule;
  double aux = 0, z = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// Tensors of a routing op and its losses.
struct Routing {
  Routing(Buffers& b, const Case& c, DType dtype)
      : rule(c.rule),
        logits(b.normal(dtype, {c.tokens, c.experts}, 0.02)),
        scores(b.poisoned(dtype, {c.tokens, c.experts})),
        expert(b.poisoned(DType::i32, {c.tokens, c.chosen})),
        weight(b.poisoned(dtype, {c.tokens, c.chosen})),
        counts(b.zeros(DType::i64, {c.experts})),
        fraction(b.poisoned(dtype, {c.sequences, c.experts})),
        aux(b.zeros(DType::f64, {1})),
        z(b.zeros(DType::f64, {1})) {
    // Shuffled steps keep every two logits of a token apart, so that no small change reorders them.
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      std::vector<double> step(c.experts);
      std::iota(step.begin(), step.end(), -0.5 * static_cast<double>(c.experts));
      for (std::int64_t e = c.experts - 1; e > 0; --e) std::swap(step[e], step[b.below(e + 1)]);
      for (std::int64_t e = 0; e < c.experts; ++e) {
        set(logits, t * c.experts + e, get(logits, t * c.experts + e) + 0.37 * step[e]);
      }
    }
  }

  RouteFwd forward_op() const {
    return {.logits = logits,
            .bias = bias,
            .scores = scores,
            .expert = expert,
            .weight = weight,
            .counts = counts,
            .rule = rule};
  }
  void forward() { launch(forward_op(), Stream{}); }
  void losses() {
    set(aux, 0, 0);
    set(z, 0, 0);
    launch(RouteFraction{.expert = expert, .fraction = fraction}, Stream{});
    launch(
        RouteLosses{.logits = logits, .scores = scores, .fraction = fraction, .aux = aux, .z = z},
        Stream{});
  }

  RouterRule rule;
  Tensor logits, scores, expert, weight, counts, fraction, aux, z;
  ConstTensor bias;
};

const RouterRule kSoftmax{};
const RouterRule kSoftmaxUnit{.renormalise = true};
const RouterRule kSigmoid{.score = RouterScore::sigmoid};
const RouterRule kDeepseek{
    .score = RouterScore::sigmoid, .renormalise = true, .groups = 4, .top_groups = 2, .scale = 2.5};
const RouterRule kPairs{.score = RouterScore::sigmoid, .groups = 6, .top_groups = 4};

const std::vector<Case> kCases = {
    {"softmax", 7, 1, 5, 2, kSoftmax},
    {"softmax_unit", 7, 1, 5, 2, kSoftmaxUnit},
    {"softmax_losses", 9, 3, 5, 2, kSoftmax, 0.7, 0.3},
    {"sigmoid", 5, 1, 9, 3, kSigmoid},
    {"sigmoid_losses", 6, 2, 9, 3, kSigmoid, 0.7, 0.3},
    {"deepseek", 6, 2, 16, 4, kDeepseek, 0.7},
    {"groups_of_one", 4, 1, 6, 3, kPairs, 0, 0.3},
    {"top_1", 8, 2, 16, 1, {.scale = 0.5}, 0.1, 0.1},
    {"all_experts", 5, 5, 4, 4, kSoftmax, 0.1, 0.1},
    {"all_experts_unit", 5, 1, 4, 4, kSoftmaxUnit, 0.1},
    {"one_expert", 3, 1, 1, 1, kSigmoid, 0.1, 0.1},
    {"one_token", 1, 1, 3, 2, {.score = RouterScore::sigmoid, .renormalise = true}, 0.1, 0.1},
};

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

/// Routing of one token written from the published rules, with sorts and in double.
struct Reference {
  Reference(const std::vector<double>& logits, const std::vector<double>& bias, const Case& c)
      : scores(logits.size()) {
    double sum = 0;
    for (const double x : logits) sum += std::exp(x);
    for (std::size_t e = 0; e < logits.size(); ++e) {
      const bool softmax = c.rule.score == RouterScore::softmax;
      scores[e] = softmax ? std::exp(logits[e]) / sum : 1 / (1 + std::exp(-logits[e]));
    }
    std::vector<double> choice = scores;
    for (std::size_t e = 0; e < bias.size(); ++e) choice[e] += bias[e];
    const std::vector<std::int64_t> group = sorted_groups(choice, c.rule);
    const std::int64_t width = c.experts / c.rule.groups;
    for (std::int64_t i = c.rule.top_groups; i < c.rule.groups; ++i) {
      std::fill_n(choice.begin() + group[i] * width, width,
                  -std::numeric_limits<double>::infinity());
    }
    expert = descending(choice);
    expert.resize(c.chosen);
    double chosen_sum = 0;
    for (const auto e : expert) chosen_sum += scores[e];
    for (const auto e : expert) {
      weight.push_back(scores[e] / (c.rule.renormalise ? chosen_sum : 1.0) * c.rule.scale);
    }
  }

  static std::vector<std::int64_t> descending(const std::vector<double>& x) {
    std::vector<std::int64_t> order(x.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return x[a] > x[b]; });
    return order;
  }

  static std::vector<std::int64_t> sorted_groups(const std::vector<double>& choice,
                                                 const RouterRule& rule) {
    const auto width = static_cast<std::int64_t>(choice.size()) / rule.groups;
    std::vector<double> score;
    for (std::int64_t g = 0; g < rule.groups; ++g) {
      std::vector<double> members(choice.begin() + g * width, choice.begin() + (g + 1) * width);
      std::sort(members.rbegin(), members.rend());
      score.push_back(members[0] + (width > 1 ? members[1] : 0));
    }
    return descending(score);
  }

  std::vector<double> scores, weight;
  std::vector<std::int64_t> expert;
};

class RouteRule : public testing::TestWithParam<Case> {};

/// `limit` bounds the relative error of a weight: a few dozen roundings of the dtype.
void expect_reference(const Case& c, DType dtype, double limit) {
  Buffers b(3);
  Routing r(b, c, dtype);
  const Tensor bias = b.normal(dtype, {c.experts}, 0.2);
  r.bias = bias;
  r.forward();
  std::vector<double> counts(c.experts);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    const Reference want(values(r.logits.slice(0, t, 1)), values(bias), c);
    EXPECT_LE(test::relative_l2(values(r.scores.slice(0, t, 1)), want.scores), limit);
    EXPECT_LE(test::relative_l2(values(r.weight.slice(0, t, 1)), want.weight), limit);
    for (std::int64_t k = 0; k < c.chosen; ++k) {
      EXPECT_EQ(get(r.expert, t * c.chosen + k), want.expert[k]) << "token " << t << " place " << k;
      ++counts[want.expert[k]];
    }
  }
  EXPECT_EQ(values(r.counts), counts);
}

TEST_P(RouteRule, MatchesReferenceInDouble) {
  expect_reference(GetParam(), DType::f64, 1e-14);
}

TEST_P(RouteRule, MatchesReferenceInFloat) {
  expect_reference(GetParam(), DType::f32, 2e-6);
}

TEST_P(RouteRule, GradientMatchesFiniteDifferences) {
  const Case& c = GetParam();
  Buffers b;
  Routing r(b, c, DType::f64);
  const Tensor dweight = b.normal(DType::f64, {c.tokens, c.chosen});
  const Tensor dlogits = b.poisoned(DType::f64, {c.tokens, c.experts});
  const Tensor again = b.poisoned(DType::f64, {c.tokens, c.experts});
  r.forward();
  r.losses();
  const auto selection = values(r.expert);
  const Tensor quarter = b.zeros(DType::f64, {1});
  set(quarter, 0, 0.25);
  RouteBwd backward{.dweight = dweight,
                    .logits = r.logits,
                    .scores = r.scores,
                    .expert = r.expert,
                    .fraction = r.fraction,
                    .dlogits = dlogits,
                    .rule = c.rule,
                    .aux_coef = c.aux,
                    .z_coef = 4 * c.z,
                    .z_scale = quarter};
  launch(backward, Stream{});
  backward.dlogits = again;
  launch(backward, Stream{});
  EXPECT_TRUE(bit_equal(dlogits, again));
  auto loss = [&] {
    r.forward();
    r.losses();
    EXPECT_EQ(values(r.expert), selection) << "the difference step must not move the selection";
    return test::dot(r.weight, dweight) + c.aux * get(r.aux, 0) + c.z * get(r.z, 0);
  };
  EXPECT_LE(test::gradient_error(r.logits, dlogits, loss), 1e-6);
}

TEST_P(RouteRule, SameInputGivesSameBits) {
  const Case& c = GetParam();
  Buffers first(5), second(5);
  Routing a(first, c, DType::f32), b(second, c, DType::f32);
  for (Routing* r : {&a, &b}) {
    r->forward();
    r->losses();
  }
  EXPECT_TRUE(bit_equal(a.weight, b.weight));
  EXPECT_TRUE(bit_equal(a.expert, b.expert));
  EXPECT_TRUE(bit_equal(a.aux, b.aux));
  EXPECT_TRUE(bit_equal(a.z, b.z));
}

INSTANTIATE_TEST_SUITE_P(Rules, RouteRule, testing::ValuesIn(kCases), case_name);

TEST(RouteFwd, TiesGoToTheLowerExpertAndGroup) {
  Buffers b;
  Routing r(b, {"", 1, 1, 8, 3, {.groups = 4, .top_groups = 2}}, DType::f32);
  for (int e = 0; e < 8; ++e) set(r.logits, e, 1.5);
  r.forward();
  EXPECT_EQ(values(r.expert), (std::vector<double>{0, 1, 2}));
}

TEST(RouteFwd, AGroupIsJudgedByItsTwoBest) {
  Buffers b;
  Routing r(b, {"", 1, 1, 6, 2, {.groups = 2, .top_groups = 1}}, DType::f64);
  const double logits[] = {5, -4, -4, 4.9, 4.8, -9};  // the best single expert is in group 0
  for (int e = 0; e < 6; ++e) set(r.logits, e, logits[e]);
  r.rule.score = RouterScore::sigmoid;
  r.forward();
  EXPECT_EQ(values(r.expert), (std::vector<double>{3, 4}));
}

TEST(RouteFwd, BiasSelectsButDoesNotWeigh) {
  Buffers b;
  Routing r(b, {"", 1, 1, 3, 1, kSigmoid}, DType::f64);
  const Tensor bias = b.zeros(DType::f64, {3});
  r.forward();
  const auto favourite = static_cast<std::int64_t>(get(r.expert, 0));
  set(bias, favourite, -2);
  r.bias = bias;
  r.forward();
  const auto chosen = static_cast<std::int64_t>(get(r.expert, 0));
  EXPECT_NE(chosen, favourite);
  EXPECT_EQ(get(r.weight, 0), get(r.scores, chosen));
  EXPECT_EQ(get(r.counts, favourite), 1);  // counts accumulate over launches
  EXPECT_EQ(get(r.counts, chosen), 1);
}

TEST(RouteFwd, NotANumberStillSelectsDistinctExperts) {
  Buffers b;
  Routing r(b, {"", 1, 1, 4, 4, kSigmoid}, DType::f64);
  for (int e = 0; e < 3; ++e) set(r.logits, e, std::nan(""));
  r.forward();
  auto chosen = values(r.expert);
  std::sort(chosen.begin(), chosen.end());
  EXPECT_EQ(chosen, (std::vector<double>{0, 1, 2, 3}));
}

TEST(RouteFwd, ExtremeLogitsStayFinite) {
  for (const RouterRule& rule : {kSoftmaxUnit, kSigmoid}) {
    Buffers b;
    Routing r(b, {"", 1, 1, 2, 1, rule}, DType::f32);
    set(r.logits, 0, 3e4);
    set(r.logits, 1, -3e4);
    r.forward();
    r.losses();
    EXPECT_EQ(get(r.weight, 0), 1);
    EXPECT_EQ(get(r.scores, 1), 0);
    EXPECT_EQ(get(r.z, 0), 9e8);
  }
}

TEST(RouteLosses, BalancedRoutingScoresOnePerSequence) {
  Buffers b;
  const std::int64_t tokens = 8, experts = 4;
  Routing r(b, {"", tokens, 2, experts, 1, kSoftmax}, DType::f64);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t e = 0; e < experts; ++e) set(r.logits, t * experts + e, e == t % experts);
  }
  r.forward();
  r.losses();
  EXPECT_NEAR(get(r.aux, 0), 2, 1e-14);
  EXPECT_EQ(values(r.fraction), std::vector<double>(8, 0.25));
}

TEST(RouteLosses, MatchesHandComputedValuesAndAccumulates) {
  Buffers b;
  Routing r(b, {"", 2, 1, 2, 1, kSigmoid}, DType::f64);
  for (int t = 0; t < 2; ++t) {  // sigmoid scores 0.75 and 0.5, both tokens on expert 0
    set(r.logits, t * 2, std::log(3.0));
    set(r.logits, t * 2 + 1, 0);
  }
  r.forward();
  set(r.aux, 0, 1);
  launch(RouteFraction{.expert = r.expert, .fraction = r.fraction}, Stream{});
  const RouteLosses op{
      .logits = r.logits, .scores = r.scores, .fraction = r.fraction, .aux = r.aux, .z = r.z};
  launch(op, Stream{});
  EXPECT_NEAR(get(r.aux, 0), 1 + 2 * 0.6, 1e-14);
  EXPECT_NEAR(get(r.z, 0), 2 * std::log(4.0) * std::log(4.0), 1e-14);
}

/// Many tokens run in parallel, few do not: a whole launch must equal the launches of its parts.
TEST(RouteParallel, WholeEqualsPartsBitForBit) {
  const std::int64_t sequences = 20, length = 60, experts = 16;
  Buffers b;
  Routing whole(b, {"", sequences * length, sequences, experts, 3, kDeepseek}, DType::f32);
  whole.forward();
  whole.losses();
  const Tensor dweight = b.normal(DType::f32, {sequences * length, 3});
  const Tensor dlogits = b.poisoned(DType::f32, {sequences * length, experts});
  RouteBwd backward{.dweight = dweight,
                    .logits = whole.logits,
                    .scores = whole.scores,
                    .expert = whole.expert,
                    .fraction = whole.fraction,
                    .dlogits = dlogits,
                    .rule = whole.rule,
                    .aux_coef = 0.1,
                    .z_coef = 0.1};
  launch(backward, Stream{});
  double aux = 0, z = 0;
  for (std::int64_t r = 0; r < sequences; ++r) {
    Routing part(b, {"", length, 1, experts, 3, kDeepseek}, DType::f32);
    part.logits = whole.logits.slice(0, r * length, length);
    part.forward();
    part.losses();
    aux += get(part.aux, 0);
    z += get(part.z, 0);
    EXPECT_TRUE(bit_equal(part.scores, whole.scores.slice(0, r * length, length)));
    EXPECT_TRUE(bit_equal(part.expert, whole.expert.slice(0, r * length, length)));
    EXPECT_TRUE(bit_equal(part.weight, whole.weight.slice(0, r * length, length)));
    EXPECT_TRUE(bit_equal(part.fraction, whole.fraction.slice(0, r, 1)));
    backward.dweight = dweight.slice(0, r * length, length);
    backward.logits = part.logits;
    backward.scores = part.scores;
    backward.expert = part.expert;
    backward.fraction = part.fraction;
    backward.dlogits = b.poisoned(DType::f32, {length, experts});
    launch(backward, Stream{});
    EXPECT_TRUE(bit_equal(backward.dlogits, dlogits.slice(0, r * length, length)));
  }
  EXPECT_EQ(get(whole.aux, 0), aux);
  EXPECT_EQ(get(whole.z, 0), z);
}

TEST(RouterBiasUpdate, MovesByTheSignOfTheLack) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Buffers b;
    const Tensor counts = b.zeros(DType::i64, {4}), bias = b.zeros(dtype, {4});
    const double count[] = {6, 5, 5, 4};
    for (int e = 0; e < 4; ++e) set(counts, e, count[e]);
    launch(RouterBiasUpdate{.counts = counts, .bias = bias, .rate = 0.25}, Stream{});
    EXPECT_EQ(values(bias), (std::vector<double>{-0.25, 0, 0, 0.25}));
  }
}

/// Written from the formula, three steps.
TEST(RouterBiasAdamW, FollowsTheFormula) {
  Buffers b;
  const Tensor counts = b.zeros(DType::i64, {3}), bias = b.zeros(DType::f64, {3}),
               m = b.zeros(DType::f64, {3}), v = b.zeros(DType::f64, {3}),
               steps = b.zeros(DType::f64, {1});
  const RouterBiasAdamW op{
      .counts = counts, .bias = bias, .m = m, .v = v, .steps = steps, .rate = 0.5};
  launch(op, Stream{});
  EXPECT_EQ(values(bias), (std::vector<double>{0, 0, 0})) << "no tokens, no step";
  const double seen[3][3] = {{6, 2, 1}, {2, 2, 5}, {3, 3, 3}};
  double expected[3] = {}, mean[3] = {}, square[3] = {};
  for (int t = 1; t <= 3; ++t) {
    for (int e = 0; e < 3; ++e) {
      const double gradient = seen[t - 1][e] / 9 - 1.0 / 3;
      mean[e] = 0.9 * mean[e] + 0.1 * gradient;
      square[e] = 0.95 * square[e] + 0.05 * gradient * gradient;
      expected[e] -= 0.5 * mean[e] / (1 - std::pow(0.9, t)) /
                     (std::sqrt(square[e] / (1 - std::pow(0.95, t))) + 1e-8);
      set(counts, e, seen[t - 1][e]);
    }
    launch(op, Stream{});
    for (int e = 0; e < 3; ++e) EXPECT_NEAR(get(bias, e), expected[e], 1e-12) << t << ' ' << e;
  }
  EXPECT_EQ(get(steps, 0), 3);
}

TEST(RouteFwd, ForcedExpertsTakeThePlacesOfASequence) {
  Buffers b;
  Routing r(b, {"", 6, 2, 4, 2, {.forced = 3}}, DType::f64);
  RouteFwd op = r.forward_op();
  op.length = 3;
  const auto expect = [&](const std::vector<double>& expert) {
    launch(op, Stream{});
    EXPECT_EQ(values(r.expert), expert);
    for (int c = 0; c < 12; ++c) {
      EXPECT_EQ(get(r.weight, c), get(r.scores, c / 2 * 4 + static_cast<int>(expert[c])));
    }
  };
  // Two sequences of three.
  expect({0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
  EXPECT_EQ(values(r.counts), (std::vector<double>{4, 4, 4, 0}));
  // Pieces of sequences of eight, padding at the end.
  op.length = 8;
  op.sequence = b.ints({0, 0, 0, 1, 1, -1}, {6});
  op.place = b.ints({0, 1, 7, 6, 7, 8}, {6});
  expect({0, 1, 2, 0, 2, 0, 0, 1, 2, 0, 1, 2});
  EXPECT_EQ(values(r.counts), (std::vector<double>{9, 6, 7, 0}));
}

TEST(RouteFwd, MakesItsLogitsFirst) {
  Buffers b;
  const Case c{"", 6, 1, 4, 2, {.renormalise = true}};
  const Tensor x = b.normal(DType::f64, {6, 5}), w = b.normal(DType::f64, {4, 5}),
               parts = b.poisoned(DType::f64, {4, 5});
  Routing apart(b, c, DType::f64), together(b, c, DType::f64);
  launch(WideLinearFwd{.x = x, .w = w, .y = apart.logits}, Stream{});
  apart.forward();
  RouteFwd op = together.forward_op();
  op.product = {.x = x, .w = w, .y = together.logits, .parts = parts};
  launch(op, Stream{});
  EXPECT_EQ(values(together.logits), values(apart.logits));
  EXPECT_EQ(values(together.weight), values(apart.weight));
  EXPECT_EQ(values(together.expert), values(apart.expert));
  EXPECT_EQ(values(parts), values(w));
}

std::string complaint(const Case& c, void (*spoil)(RouteFwd&) = nullptr) {
  Buffers b;
  Routing r(b, c, DType::f64);
  RouteFwd op = r.forward_op();
  if (spoil) spoil(op);
  try {
    launch(op, Stream{.device = Device::plan});
  } catch (const OpError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RouteCheck, NamesWhatIsWrong) {
  auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos ? std::string() : text;
  };
  EXPECT_EQ(has(complaint({"", 2, 1, 4, 2, {}}), "accepted"), "");
  EXPECT_EQ(has(complaint({"", 2, 1, 4, 5, {}}), "must be in 1..4"), "");
  EXPECT_EQ(has(complaint({"", 2, 1, 4, 1, {.groups = 3}}), "rule.groups must divide 4"), "");
  EXPECT_EQ(has(complaint({"", 2, 1, 4, 1, {.groups = 2, .top_groups = 3}}), "rule.top_groups"),
            "");
  EXPECT_EQ(has(complaint({"", 2, 1, 4, 3, {.groups = 2, .top_groups = 1}}), "hold 2 experts"), "");
  const Case fine{"", 2, 1, 4, 2, {}};
  EXPECT_EQ(has(complaint(fine, [](RouteFwd& op) { op.scores = {}; }), "scores"), "");
  EXPECT_EQ(has(complaint(fine, [](RouteFwd& op) { op.counts.dtype = DType::i32; }), "counts"), "");
  const Case forced{"", 2, 1, 4, 2, {.forced = 4}};
  EXPECT_EQ(has(complaint(forced, [](RouteFwd& op) { op.length = 2; }), "accepted"), "");
  EXPECT_EQ(has(complaint(forced), "length must be the tokens of a sequence, dividing 2"), "");
  EXPECT_EQ(has(complaint(forced, [](RouteFwd& op) { op.length = 3; }), "dividing 2"), "");
  EXPECT_EQ(has(complaint(forced, [](RouteFwd& op) { op.rule.forced = 1; }), "at least K (2)"), "");
  const auto without_place = [](RouteFwd& op) {
    op.length = 2;
    op.sequence = Tensor(&op, DType::i32, {2});
  };
  EXPECT_EQ(has(complaint(forced, without_place), "place is needed"), "");
  const auto short_place = [](RouteFwd& op) { op.place = Tensor(&op, DType::i32, {1}); };
  EXPECT_EQ(has(complaint(forced, short_place), "place"), "");
  const auto other_logits = [](RouteFwd& op) {
    op.product = {.x = op.weight, .w = Tensor(&op, DType::f64, {4, 2}), .y = op.scores};
  };
  EXPECT_EQ(has(complaint(fine, other_logits), "product.y: expected the logits"), "");
  EXPECT_EQ(has(complaint(fine, [](RouteFwd& op) { op.logits.dtype = DType::bf16; }), "bf16"), "");
  EXPECT_EQ(
      has(complaint(fine, [](RouteFwd& op) { op.scores.data = const_cast<void*>(op.logits.data); }),
          "logits"),
      "");
}

/// Empty when launching the op throws an OpError with this text in it.
std::string complaint_of(const RouteBwd& op, const Stream& stream, const std::string& text) {
  try {
    launch(op, stream);
  } catch (const OpError& error) {
    const std::string message = error.what();
    return message.find(text) != std::string::npos ? "" : message;
  }
  return "accepted";
}

TEST(RouteBackward, WritesGradientsBySortedRows) {
  Buffers b;
  Routing r(b, {"", 5, 1, 3, 1, {}}, DType::f64);
  r.forward();
  const Tensor dlogits = b.poisoned(DType::f64, {5, 3}), parts = b.poisoned(DType::f64, {5, 3}),
               row_of = b.ints({3, 0, 4, 1, 2}, {5, 1});
  RouteBwd op{.dweight = b.normal(DType::f64, {5, 1}),
              .logits = r.logits,
              .scores = r.scores,
              .expert = r.expert,
              .dlogits = dlogits,
              .row_of = row_of,
              .parts = parts,
              .rule = {}};
  launch(op, Stream{});
  for (std::int64_t t = 0; t < 5; ++t) {
    const auto row = static_cast<std::int64_t>(get(row_of, t));
    EXPECT_TRUE(bit_equal(parts.slice(0, row, 1), dlogits.slice(0, t, 1))) << t;
  }
  const Stream plan{.device = Device::plan};
  op.row_of = {};
  EXPECT_EQ(complaint_of(op, plan, "row_of"), "");
  op.row_of = row_of;
  op.parts = b.zeros(DType::f64, {5, 12});
  EXPECT_EQ(complaint_of(op, plan, "parts: expected shape [5, 3]"), "");
  op.parts = b.zeros(DType::bf16, {5, 12});
  EXPECT_EQ(complaint_of(op, plan, "statistics in f64"), "");
}

TEST(RouteCheck, AuxiliaryGradientNeedsItsFractions) {
  Buffers b;
  Routing r(b, {"", 4, 1, 4, 2, {}}, DType::f64);
  RouteBwd op{.dweight = r.weight,
              .logits = r.logits,
              .scores = r.scores,
              .expert = r.expert,
              .dlogits = b.zeros(DType::f64, {4, 4}),
              .rule = {},
              .aux_coef = 0.1};
  const Stream plan{.device = Device::plan};
  EXPECT_THROW(launch(op, plan), OpError);
  op.fraction = b.zeros(DType::f64, {3, 4});  // 4 tokens do not make 3 sequences
  EXPECT_THROW(launch(op, plan), OpError);
  op.fraction = r.fraction;
  EXPECT_NO_THROW(launch(op, plan));
}

}  // namespace
}  // namespace strait::kernels
