#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/spans.h"
#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

/// The second half of the queries first, as context parallelism may deal them.
Spans zigzag(std::int64_t tokens) {
  Spans s = causal({tokens});
  std::rotate(s.begin.begin(), s.begin.begin() + tokens / 2, s.begin.end());
  std::rotate(s.end.begin(), s.end.begin() + tokens / 2, s.end.end());
  return s;
}

/// Every third query sees nothing; whole tiles of queries among them.
Spans with_empty(std::int64_t tokens) {
  Spans s = causal({tokens});
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (t % 3 == 0 || (t >= 128 && t < 300)) s.end[t] = s.begin[t];
  }
  return s;
}

struct Case {
  std::string name;
  Spans spans;
  std::int64_t heads = 1, groups = 1, key_width = 64, value_width = 64;
  Make rows = {};
  std::vector<DType> storages = {DType::bf16, DType::f32};
  std::int64_t tokens() const { return static_cast<std::int64_t>(spans.begin.size()); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

AttentionFwd forward(Side& s, const Case& c) {
  const std::int64_t tokens = c.tokens(), keys = c.spans.keys;
  return {.q = s.input("q", {tokens, c.heads, c.key_width}, c.rows),
          .k = s.input("k", {keys, c.groups, c.key_width}, c.rows),
          .v = s.input("v", {keys, c.groups, c.value_width}, c.rows),
          .k_begin = s.ints("k_begin", c.spans.begin, {tokens}),
          .k_end = s.ints("k_end", c.spans.end, {tokens}),
          .o = s.output("o", {tokens, c.heads, c.value_width}, c.rows),
          .lse = s.output("lse", {c.heads, tokens}, {.stat = true}),
          .scale = 1.5 / std::sqrt(static_cast<double>(c.key_width))};
}

/// lse and half of o of the forward in double, for the same inputs. Half, because the gradients of
/// q and k are nothing but rounding where a query sees one key; the op takes any o.
struct Saved {
  Saved(const Case& c, DType storage) {
    Side wide(Side::Kind::wide, storage);
    for (const Side::Result& r : evaluate(wide, [&](Side& s) { return forward(s, c); })) {
      if (r.name == "o") o = strait::test::values(r.view);
      if (r.name == "lse") lse = strait::test::values(r.view);
    }
    for (double& x : o) x *= 0.5;
  }
  std::vector<double> o, lse;
};

AttentionBwd backward(Side& s, const Case& c, const Saved& saved) {
  const std::int64_t tokens = c.tokens(), keys = c.spans.keys;
  return {.dout = s.input("dout", {tokens, c.heads, c.value_width}, c.rows),
          .q = s.input("q", {tokens, c.heads, c.key_width}, c.rows),
          .k = s.input("k", {keys, c.groups, c.key_width}, c.rows),
          .v = s.input("v", {keys, c.groups, c.value_width}, c.rows),
          .o = s.values("o", saved.o, {tokens, c.heads, c.value_width}, c.rows),
          .lse = s.values("lse", saved.lse, {c.heads, tokens}, {.stat = true}),
          .k_begin = s.ints("k_begin", c.spans.begin, {tokens}),
          .k_end = s.ints("k_end", c.spans.end, {tokens}),
          .dq = s.output("dq", {tokens, c.heads, c.key_width}, c.rows),
          .dk = s.output("dk", {keys, c.groups, c.key_width}, c.rows),
          .dv = s.output("dv", {keys, c.groups, c.value_width}, c.rows),
          .scale = 1.5 / std::sqrt(static_cast<double>(c.key_width))};
}

std::vector<Case> cases() {
  Spans offset{{2, 2, 3, 5, 5}, {4, 6, 7, 9, 9}, 11};
  return {
      {"one_token", causal({1}), 2, 1},
      {"t113", causal({113}), 4, 4},
      {"t799_d128", causal({799}), 2, 1, 128, 128},
      {"one_kv_head", causal({239}), 6, 1},
      {"two_kv_heads", causal({130}), 4, 2, 128, 128},
      {"golden_8", causal({24}), 4, 2, 8, 8, kOddRows},
      {"golden_12", causal({24, 3}), 4, 2, 12, 8, kOddRows},
      {"mla", causal({150, 40}), 3, 3, 192, 128, kPaddedRows},
      {"mla_odd_rows", causal({67}), 2, 2, 192, 128, kOddRows},
      {"wide", causal({140}), 2, 1, 256, 256},
      {"wide_odd", causal({70}), 1, 1, 236, 200, kOddRows},
      {"wide_values", causal({70}), 1, 1, 64, 128},
      {"documents", causal({150, 1, 2, 300, 1, 129, 64, 5}), 4, 2},
      {"documents_of_one", causal(std::vector<std::int64_t>(70, 1)), 2, 1},
      {"window", causal({500, 140}, 70), 2, 2, 128, 64},
      {"window_one", causal({90}, 1), 2, 1},
      {"window_wider_than_documents", causal({40, 20}, 99), 2, 1},
      {"full", full(130, 300), 3, 1, 128, 128},
      {"full_more_queries", full(300, 37), 2, 2},
      {"offset_keys", offset, 2, 1},
      {"empty_intervals", with_empty(400), 2, 1},
      {"zigzag", zigzag(700), 2, 1},
      {"t113_d128", causal({113}), 3, 3, 128, 128},
      {"no_hopper_tile", causal({300, 70}), 4, 2, 96, 96},
  };
}

std::string numbered(std::string name, std::int64_t number) {
  return name += std::to_string(number);
}

/// Every mask, length and sharing of heads in every head dim that has a Hopper tile, in bf16.
std::vector<Case> hopper_cases() {
  std::vector<Case> all;
  for (const auto& [key_width, value_width] :
       {std::pair{64, 64}, {128, 128}, {192, 128}, {256, 256}}) {
    const auto add = [&, key = key_width, value = value_width](
                         const std::string& name, Spans spans, std::int64_t heads,
                         std::int64_t groups, Make rows = {}) {
      all.push_back({name + "_k" + std::to_string(key),
                     std::move(spans),
                     heads,
                     groups,
                     key,
                     value,
                     rows,
                     {DType::bf16}});
    };
    for (const std::int64_t tokens : {1, 113, 239, 799, 1023, 4097}) {
      add(numbered("t", tokens), causal({tokens}), tokens > 1000 ? 1 : 2, 1);
    }
    for (const std::int64_t groups : {1, 2, 3, 6}) {
      add(numbered("groups", groups), causal({190, 67}), 6, groups, kPaddedRows);
    }
    // As many tiles as keep all multiprocessors busy.
    add("many_tiles", causal(std::vector<std::int64_t>(16, 70)), 32, 8);
    add("documents", causal({150, 1, 2, 300, 1, 129, 64, 5, 256, 128}), 4, 2);
    add("documents_of_one", causal(std::vector<std::int64_t>(200, 1)), 2, 1);
    // More tiles of 64 queries than the preparation plans: a launch of its own does, beside it.
    add("many_documents", causal(std::vector<std::int64_t>(70, 33)), 2, 1);
    for (const std::int64_t window : {1, 63, 64, 65, 128, 129}) {
      add(numbered("window", window), causal({400, 140}, window), 2, 1);
    }
    add("full", full(700, 517), 2, 1);
    add("full_few_keys", full(300, 37), 2, 2);
    add("empty_intervals", with_empty(400), 2, 1);
    add("zigzag", zigzag(700), 2, 1);
  }
  return all;
}

class CudaAttention : public DeviceTest, public testing::WithParamInterface<Case> {};

/// Puts 0 for every lse of -inf, which must be where a query sees nothing.
void replace_infinities(strait::test::Buffers& b, std::vector<Side::Result>& results,
                        const Case& c) {
  for (Side::Result& r : results) {
    if (r.name != "lse") continue;
    const Tensor finite = b.converted(r.view, r.view.dtype);
    for (std::int64_t i = 0; i < finite.numel(); ++i) {
      const std::int64_t t = i % c.tokens();
      const bool empty = c.spans.begin[t] >= c.spans.end[t];
      EXPECT_EQ(get(finite, i) == -std::numeric_limits<double>::infinity(), empty) << t;
      if (empty) set(finite, i, 0);
    }
    r.view = finite;
  }
}

TEST_P(CudaAttention, Forward) {
  for (const DType storage : GetParam().storages) {
    strait::test::Buffers b;
    compare_op(
        storage, [&](Side& s) { return forward(s, GetParam()); }, {},
        [&](Draw& draw) {
          for (auto* results : {&draw.wide, &draw.naive, &draw.device}) {
            replace_infinities(b, *results, GetParam());
          }
        });
  }
}

TEST_P(CudaAttention, Backward) {
  for (const DType storage : GetParam().storages) {
    const Saved saved(GetParam(), storage);
    compare_op(storage, [&](Side& s) { return backward(s, GetParam(), saved); });
  }
}

INSTANTIATE_TEST_SUITE_P(Hopper, CudaAttention, testing::ValuesIn(hopper_cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(All, CudaAttention, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaAttentionOps = DeviceTest;

TEST_F(CudaAttentionOps, NothingSeenGivesZeros) {
  const Case c{"", {std::vector<std::int32_t>(40, 3), std::vector<std::int32_t>(40, 3), 70}, 2, 2};
  for (const DType storage : {DType::bf16, DType::f32}) {
    const Saved saved(c, storage);
    Side side(Side::Kind::device, storage), back(Side::Kind::device, storage);
    auto results = evaluate(side, [&](Side& s) { return forward(s, c); });
    for (const auto& r : evaluate(back, [&](Side& s) { return backward(s, c, saved); })) {
      results.push_back(r);
    }
    for (const Side::Result& r : results) {
      if (!r.written || r.name == "lse") continue;
      for (const double x : strait::test::values(r.view)) ASSERT_EQ(x, 0.0) << r.name;
    }
  }
}

TEST_F(CudaAttentionOps, NegativeScale) {
  const Case c{"", causal({90}), 2, 1};
  compare_op(DType::bf16, [&](Side& s) {
    AttentionFwd op = forward(s, c);
    op.scale = -op.scale;
    return op;
  });
}

TEST_F(CudaAttentionOps, RejectsWideHeads) {
  const Case c{"", causal({5}), 1, 1, 260, 64};
  expect_unsupported(
      DType::bf16, [&](Side& s) { return forward(s, c); }, "head dims 1..256");
}

}  // namespace
}  // namespace strait::kernels
