#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "tests/kernels/op_test.h"
#include "tests/kernels/spans.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  Spans spans;
  std::int64_t heads = 1, groups = 1, key_width = 4, value_width = 4;
  std::int64_t tokens() const { return static_cast<std::int64_t>(spans.begin.size()); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// All tensors of a case; q, k and v are columns of wider buffers.
struct Tensors {
  Tensors(Buffers& b, const Case& c, DType dtype)
      : q(heads_of(b.normal(dtype, {c.tokens(), c.heads * c.key_width + 3}), c.heads, c.key_width)),
        k(heads_of(b.normal(dtype, {c.spans.keys, c.groups * c.key_width + 3}), c.groups,
                   c.key_width)),
        v(heads_of(b.normal(dtype, {c.spans.keys, c.groups * c.value_width + 3}), c.groups,
                   c.value_width)),
        dout(b.normal(dtype, {c.tokens(), c.heads, c.value_width})),
        begin(b.ints(c.spans.begin, {c.tokens()})),
        end(b.ints(c.spans.end, {c.tokens()})) {
    allocate(b);
  }

  /// The same inputs in another dtype.
  Tensors(Buffers& b, const Tensors& from, DType dtype)
      : q(b.converted(from.q, dtype)),
        k(b.converted(from.k, dtype)),
        v(b.converted(from.v, dtype)),
        dout(b.converted(from.dout, dtype)),
        begin(from.begin),
        end(from.end) {
    allocate(b);
  }

  static Tensor heads_of(const Tensor& wide, std::int64_t heads, std::int64_t width) {
    return wide.slice(1, 2, heads * width).split_last(heads, width);
  }

  void allocate(Buffers& b) {
    const DType t = q.dtype;
    const std::int64_t tokens = q.shape[0], heads = q.shape[1], keys = k.shape[0];
    o = b.poisoned(t, {tokens, heads, v.shape[2]});
    lse = b.poisoned(stat_dtype(t), {heads, tokens});
    dq = b.poisoned(t, {tokens, heads, q.shape[2]});
    const Tensor fused = b.poisoned(t, {keys, k.shape[1] * (k.shape[2] + v.shape[2])});
    dk = fused.slice(1, 0, k.shape[1] * k.shape[2]).split_last(k.shape[1], k.shape[2]);
    dv = fused.slice(1, k.shape[1] * k.shape[2], k.shape[1] * v.shape[2])
             .split_last(k.shape[1], v.shape[2]);
  }

  AttentionFwd forward() const {
    return {
        .q = q, .k = k, .v = v, .k_begin = begin, .k_end = end, .o = o, .lse = lse, .scale = scale};
  }

  AttentionBwd backward() const {
    return {.dout = dout,
            .q = q,
            .k = k,
            .v = v,
            .o = o,
            .lse = lse,
            .k_begin = begin,
            .k_end = end,
            .dq = dq,
            .dk = dk,
            .dv = dv,
            .scale = scale};
  }

  std::vector<Tensor> outputs() const { return {o, lse, dq, dk, dv}; }

  Tensor q, k, v, dout, begin, end, o, lse, dq, dk, dv;
  double scale = 0.4;
};

/// Plain loops over heads, queries and keys, everything in T.
template <class T>
void reference(const Tensors& s) {
  const std::int64_t tokens = s.q.shape[0], heads = s.q.shape[1], groups = s.k.shape[1];
  const std::int64_t dk = s.q.shape[2], dv = s.v.shape[2];
  const auto at = [](const Tensor& x, std::int64_t row, std::int64_t h) {
    return x.as<T>() + row * x.stride[0] + h * x.stride[1];
  };
  for (const Tensor& x : {s.dk, s.dv}) {
    for (std::int64_t i = 0; i < x.numel(); ++i) set(x, i, 0);
  }
  const auto inner = [](const T* a, const T* b, std::int64_t n) {
    T sum = 0;
    for (std::int64_t c = 0; c < n; ++c) sum += a[c] * b[c];
    return sum;
  };
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::int64_t j = h / (heads / groups);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int32_t begin = s.begin.as<std::int32_t>()[t], end = s.end.as<std::int32_t>()[t];
      const T* q = at(s.q, t, h);
      const T* dout = at(s.dout, t, h);
      T* o = at(s.o, t, h);
      T* dq = at(s.dq, t, h);
      std::fill_n(o, dv, T(0));
      std::fill_n(dq, dk, T(0));
      T most = -std::numeric_limits<T>::infinity(), total = 0;
      std::vector<T> p;
      for (std::int32_t u = begin; u < end; ++u) {
        p.push_back(static_cast<T>(s.scale) * inner(q, at(s.k, u, j), dk));
        most = std::max(most, p.back());
      }
      for (T& x : p) total += x = std::exp(x - most);
      s.lse.as<T>()[h * tokens + t] = most + std::log(total);
      for (std::int32_t u = begin; u < end; ++u) {
        p[u - begin] /= total;
        for (std::int64_t c = 0; c < dv; ++c) o[c] += p[u - begin] * at(s.v, u, j)[c];
      }
      const T delta = inner(dout, o, dv);
      for (std::int32_t u = begin; u < end; ++u) {
        const T weight = p[u - begin];
        const T ds = static_cast<T>(s.scale) * weight * (inner(dout, at(s.v, u, j), dv) - delta);
        for (std::int64_t c = 0; c < dk; ++c) {
          dq[c] += ds * at(s.k, u, j)[c];
          at(s.dk, u, j)[c] += ds * q[c];
        }
        for (std::int64_t c = 0; c < dv; ++c) at(s.dv, u, j)[c] += weight * dout[c];
      }
    }
  }
}

void run_both(const Tensors& s) {
  run(s.forward());
  run(s.backward());
}

std::vector<Case> small_cases() {
  Spans offset{{2, 2, 3, 5, 5}, {4, 6, 7, 9, 9}, 11};
  Spans with_empty{{0, 3, 3, 4, 9}, {0, 3, 5, 4, 7}, 9};
  // A zigzag of context parallelism: the second half of the queries comes first.
  Spans zigzag{{4, 4, 0, 0}, {7, 8, 1, 2}, 8};
  return {
      {"one_token", causal({1}), 2, 1, 3, 2},
      {"one_head", causal({7}), 1, 1, 4, 4},
      {"one_kv_head", causal({6}), 4, 1, 3, 5},
      {"two_kv_heads", causal({6}), 4, 2, 5, 2},
      {"kv_head_each", causal({5}), 3, 3, 4, 4},
      {"window_one", causal({6}, 1), 2, 1, 3, 3},
      {"window_edge", causal({7, 3}, 3), 2, 2, 3, 3},
      {"window_wider_than_documents", causal({4, 2}, 9), 2, 1, 3, 3},
      {"documents_of_one", causal({1, 1, 4, 1}), 2, 1, 4, 3},
      {"full", full(5, 5), 2, 1, 3, 4},
      {"full_more_keys", full(3, 8), 2, 2, 3, 3},
      {"offset_keys", offset, 2, 1, 3, 3},
      {"empty_intervals", with_empty, 2, 1, 3, 3},
      {"zigzag", zigzag, 2, 1, 3, 3},
  };
}

/// Over several query blocks, key blocks and segments.
std::vector<Case> large_cases() {
  Spans zigzag = causal({700});
  std::rotate(zigzag.begin.begin(), zigzag.begin.begin() + 350, zigzag.begin.end());
  std::rotate(zigzag.end.begin(), zigzag.end.begin() + 350, zigzag.end.end());
  return {
      {"long", causal({601}), 4, 2, 8, 8},
      {"documents", causal({150, 1, 2, 300, 129, 64, 5}), 4, 1, 16, 8},
      {"window", causal({500, 140}, 70), 2, 2, 8, 16},
      {"full", full(130, 700), 3, 1, 8, 8},
      {"zigzag", zigzag, 2, 1, 8, 8},
  };
}

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, MatchesPlainLoops) {
  Buffers b;
  const Tensors s(b, GetParam(), DType::f64), want(b, s, DType::f64);
  run_both(s);
  reference<double>(want);
  for (std::size_t i = 0; i < s.outputs().size(); ++i) {
    const std::vector<double> got = values(s.outputs()[i]), expected = values(want.outputs()[i]);
    for (std::size_t e = 0; e < got.size(); ++e) {
      if (std::isinf(expected[e])) {
        EXPECT_EQ(got[e], expected[e]);
      } else {
        EXPECT_NEAR(got[e], expected[e], 1e-12 * (1 + std::abs(expected[e]))) << i << " at " << e;
      }
    }
  }
}

TEST_P(Attention, IsBitEqualTwice) {
  Buffers b;
  const Tensors first(b, GetParam(), DType::f32), second(b, first, DType::f32);
  run_both(first);
  run_both(second);
  for (std::size_t i = 0; i < first.outputs().size(); ++i) {
    EXPECT_TRUE(bit_equal(first.outputs()[i], second.outputs()[i])) << i;
  }
}

std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Small, Attention, testing::ValuesIn(small_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Large, Attention, testing::ValuesIn(large_cases()), name_of_case);

/// Only where there are enough elements for an error to be a statistic.
class AttentionFloat : public testing::TestWithParam<Case> {};

TEST_P(AttentionFloat, ErrorIsLikeNaiveFloat) {
  Buffers b;
  const Tensors s(b, GetParam(), DType::f32), naive(b, s, DType::f32), wide(b, s, DType::f64);
  run_both(s);
  reference<float>(naive);
  reference<double>(wide);
  for (std::size_t i = 0; i < s.outputs().size(); ++i) {
    SCOPED_TRACE(i);
    expect_like_naive(s.outputs()[i], naive.outputs()[i], wide.outputs()[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(Large, AttentionFloat, testing::ValuesIn(large_cases()), name_of_case);

/// Relative where there is a gradient; with one key per query the weights are constant and the
/// gradients of q and k are zero but for rounding.
void expect_gradient(const Tensor& x, const Tensor& analytic, const std::function<double()>& loss) {
  const std::vector<double> numeric = strait::test::numeric_gradient(x, loss);
  const double norm =
      std::sqrt(std::inner_product(numeric.begin(), numeric.end(), numeric.begin(), 0.0));
  if (norm > 1e-9) {
    EXPECT_LE(relative_l2(values(analytic), numeric), kGradientTolerance);
  } else {
    EXPECT_LE(std::sqrt(dot(analytic, analytic)), 1e-13);
  }
}

class AttentionGradient : public testing::TestWithParam<Case> {};

TEST_P(AttentionGradient, MatchesFiniteDifferences) {
  Buffers b;
  const Tensors s(b, GetParam(), DType::f64);
  run_both(s);
  const auto loss = [&] {
    run(s.forward());
    return dot(s.o, s.dout);
  };
  expect_gradient(s.q, s.dq, loss);
  expect_gradient(s.k, s.dk, loss);
  expect_gradient(s.v, s.dv, loss);
}

INSTANTIATE_TEST_SUITE_P(Small, AttentionGradient, testing::ValuesIn(small_cases()), name_of_case);

TEST(AttentionFwd, EmptyIntervalGivesZeros) {
  Buffers b;
  const Tensors s(b, {"", {{0, 1, 2}, {1, 1, 3}, 4}, 2, 1, 3, 3}, DType::f64);
  run_both(s);
  for (std::int64_t h = 0; h < 2; ++h) {
    EXPECT_EQ(get(s.lse, h * 3 + 1), -std::numeric_limits<double>::infinity());
    for (std::int64_t c = 0; c < 3; ++c) {
      EXPECT_EQ(get(s.o, (2 + h) * 3 + c), 0.0);
      EXPECT_EQ(get(s.dq, (2 + h) * 3 + c), 0.0);
    }
  }
  for (std::int64_t u : {1, 3}) {  // keys that no query sees
    for (std::int64_t c = 0; c < 3; ++c) {
      EXPECT_EQ(get(s.dk, u * 3 + c), 0.0);
      EXPECT_EQ(get(s.dv, u * 3 + c), 0.0);
    }
  }
}

TEST(AttentionFwd, MovingEveryKeyByOneVectorShiftsOnlyLse) {
  Buffers b;
  const Tensors s(b, {"", causal({70, 30}), 1, 1, 4, 4}, DType::f64), moved(b, s, DType::f64);
  const Tensor shift = b.normal(DType::f64, {4});
  for (std::int64_t i = 0; i < s.k.numel(); ++i) {
    set(moved.k, i, get(s.k, i) + get(shift, i % 4));
  }
  run(s.forward());
  run(moved.forward());
  EXPECT_LE(relative_l2(moved.o, s.o), 1e-13);
  for (std::int64_t t = 0; t < 100; ++t) {
    double expected = get(s.lse, t);
    for (std::int64_t c = 0; c < 4; ++c) expected += 0.4 * get(s.q, t * 4 + c) * get(shift, c);
    EXPECT_NEAR(get(moved.lse, t), expected, 1e-12);
  }
}

TEST(AttentionFwd, DocumentsAreIndependentOfTheirNeighbours) {
  Buffers b;
  const Tensors packed(b, {"", causal({40, 90, 33}), 4, 2, 8, 8}, DType::f64);
  Tensors alone(b, {"", causal({90}), 4, 2, 8, 8}, DType::f64);
  alone.q = packed.q.slice(0, 40, 90);
  alone.k = packed.k.slice(0, 40, 90);
  alone.v = packed.v.slice(0, 40, 90);
  alone.dout = packed.dout.slice(0, 40, 90);
  run_both(packed);
  run_both(alone);
  EXPECT_LE(relative_l2(packed.o.slice(0, 40, 90), alone.o), 1e-14);
  EXPECT_LE(relative_l2(packed.dq.slice(0, 40, 90), alone.dq), 1e-14);
  EXPECT_LE(relative_l2(packed.dk.slice(0, 40, 90), alone.dk), 1e-14);
  EXPECT_LE(relative_l2(packed.dv.slice(0, 40, 90), alone.dv), 1e-14);
}

TEST(AttentionFwd, LargeScoresStayFinite) {
  Buffers b;
  const Tensors s(b, {"", causal({300}), 2, 1, 4, 4}, DType::f32);
  for (std::int64_t i = 0; i < s.q.numel(); ++i) set(s.q, i, 1e3 * get(s.q, i));
  run_both(s);
  for (const Tensor& out : s.outputs()) {
    for (double x : values(out)) ASSERT_TRUE(std::isfinite(x));
  }
}

TEST(AttentionWork, CountsPairsInsideTheIntervals) {
  Buffers b;
  const Tensors s(b, {"", causal({3, 5}), 4, 2, 6, 10}, DType::f64);
  const double pairs = 6 + 15;
  EXPECT_EQ(work(s.forward(), Device::cpu).flops, pairs * 4 * 2 * (6 + 10));
  EXPECT_EQ(work(s.backward(), Device::cpu).flops, 2.5 * pairs * 4 * 2 * (6 + 10));
  EXPECT_EQ(work(s.forward(), Device::plan).flops, 0);
  EXPECT_GT(work(s.backward(), Device::plan).bytes, 0);
}

TEST(AttentionCheck, RejectsMalformedOps) {
  Buffers b;
  const Tensors s(b, {"", causal({5}), 4, 2, 4, 4}, DType::f64);
  AttentionFwd op = s.forward();
  op.k = b.normal(DType::f64, {5, 3, 4});
  op.v = op.k;
  expect_rejected(op, "H = 4, G = 3");
  op = s.forward();
  op.v = b.normal(DType::f64, {4, 2, 4});
  expect_rejected(op, "v: expected shape [5, 2, *]");
  op = s.forward();
  op.o = s.q;
  expect_rejected(op, "overlaps q");
  op = s.forward();
  op.scale = std::nan("");
  expect_rejected(op, "scale");
  op = s.forward();
  op.k_end = b.ints({1, 2, 3, 4, 6}, {5});
  expect_rejected(op, "row 4 attends to keys [0, 6) but k and v have 5 rows");
  AttentionBwd back = s.backward();
  back.dv = s.dk;
  expect_rejected(back, "dk");
  back = s.backward();
  back.lse = b.normal(DType::f32, {4, 5});
  expect_rejected(back, "lse");
}

}  // namespace
}  // namespace strait::kernels
