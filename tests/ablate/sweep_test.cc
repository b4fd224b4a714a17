#include <gtest/gtest.h>

#include "ablate/expand.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

const std::string kTwo =
    R"("variants": {"mha": {"label": "MHA", "set": {"model.attention.kind": "mha"}},
                    "cca": {"set": {"model.attention.kind": "cca"}}}, )";

TEST(Sweep, ReadsWhatItsFileSays) {
  const Sweep sweep = sweep_of(kTwo + R"("seeds": [3, 5], "budget": [{"tokens": 1000},
      {"tokens": 2.5e6, "name": "long"}], "tune": {"values": [1e-3, 2e-3], "tokens": 500},
      "match": {"quantity": "active_parameters", "to": "mha", "free": ["model.ffn.d_ff"],
                "rounding": "below", "tolerance": 0.05, "multiple": 4})");
  EXPECT_EQ(sweep.name, "sweep");
  EXPECT_EQ(sweep.out, "ablations/sweep");
  EXPECT_EQ(sweep.baseline, "mha");
  ASSERT_EQ(sweep.variants.size(), 2u);
  EXPECT_EQ(sweep.variants[0].label, "MHA");
  EXPECT_EQ(sweep.variants[1].label, "cca");
  EXPECT_EQ(sweep.seeds, (std::vector<std::int64_t>{3, 5}));
  ASSERT_EQ(sweep.budgets.size(), 2u);
  EXPECT_EQ(sweep.budgets[0].name, "1k");
  EXPECT_EQ(sweep.budgets[1].name, "long");
  ASSERT_TRUE(sweep.match);
  EXPECT_EQ(sweep.match->quantity, Quantity::active_parameters);
  EXPECT_EQ(sweep.match->rounding, Rounding::below);
  EXPECT_EQ(sweep.match->free[0].multiple, 4);
  ASSERT_TRUE(sweep.tune);
  EXPECT_EQ(sweep.tune->seeds, (std::vector<std::int64_t>{1}));
}

TEST(Sweep, SizesLieOverTheRest) {
  const std::string text = kTwo + R"("budget": {"tokens": 1e6}, "size": "a", "sizes": {
      "a": {"seeds": 4}, "b": {"seeds": 2, "budget": {"flops": 3e16},
            "variants": {"cca": {"label": "CCA", "set": {"model.attention.n_heads": 2}}}}})";
  const Sweep a = sweep_of(text), b = sweep_of(text, "b");
  EXPECT_EQ(a.name, "sweep_a");
  EXPECT_EQ(a.seeds.size(), 4u);
  EXPECT_EQ(b.name, "sweep_b");
  EXPECT_EQ(b.budgets[0].name, "3e16-flops");
  EXPECT_EQ(b.variants[1].label, "CCA");
  ASSERT_EQ(b.variants[1].set.size(), 2u) << "of both";
  EXPECT_EQ(b.variants[1].set[1].path, "model.attention.n_heads");
}

TEST(Sweep, VariantsAreTheirKeysOverTheBase) {
  const Sweep sweep = sweep_of(kTwo + R"("budget": {"tokens": 1e6})");
  const auto variants = expand(sweep, {.overrides = {"optim.lr=0.5"}});
  ASSERT_EQ(variants.size(), 2u);
  EXPECT_EQ(variants[0].config.model.attention.kind, config::AttentionKind::mha);
  EXPECT_EQ(variants[1].config.model.attention.kind, config::AttentionKind::cca);
  for (const Variant& variant : variants) {
    EXPECT_EQ(variant.config.model.d_model, 32);
    EXPECT_EQ(variant.config.optim.lr, 0.5);
    EXPECT_EQ(variant.config.model.vocab_size, 257) << "of bytes";
  }
}

TEST(Sweep, GridsMultiply) {
  const Sweep sweep =
      sweep_of(kTwo + R"("budget": {"tokens": 1e6}, "baseline": "mha-lr0.001", "grids": [
        {"variants": ["cca"], "keys": {"model.attention.cca.convs": [0, 2],
                                       "model.attention.cca.qk_mean": [true, false]}},
        {"keys": {"optim.lr": [1e-3]}}])");
  std::vector<std::string> names;
  for (const Variant& variant : expand(sweep, {})) names.push_back(variant.spec.name);
  EXPECT_EQ(names, (std::vector<std::string>{"mha-lr0.001", "cca-convs0-qk_mean-true-lr0.001",
                                             "cca-convs0-qk_mean-false-lr0.001",
                                             "cca-convs2-qk_mean-true-lr0.001",
                                             "cca-convs2-qk_mean-false-lr0.001"}));
}

struct Bad {
  const char* members;
  const char* expected;  // in the message
};

TEST(Sweep, RefusesWithPathAndNearest) {
  const std::string budget = R"(, "budget": {"tokens": 1e6})";
  const Bad cases[] = {
      {R"("seeds": 0)", "seeds = 0: expected their number"},
      {R"("seeds": [1, 1])", "seeds = [1,1]: expected different whole numbers"},
      {R"("sedes": 2)", "sedes: unknown key; nearest is seeds"},
      {R"("baseline": "mah")", "baseline = \"mah\": no such variant; nearest is mha"},
      {R"("match": {"quantity": "active", "to": "mha", "free": ["model.ffn.d_ff"]})",
       "match.quantity = \"active\": expected one of"},
      {R"("match": {"quantity": "total_parameters", "to": "mha"})", "match.free = (not given)"},
      {R"("match": {"quantity": "total_parameters", "to": "x", "free": ["model.ffn.d_ff"]})",
       "match.to = \"x\": no such variant"},
      {R"("match": {"quantity": "total_parameters", "to": -1, "free": ["model.ffn.d_ff"]})",
       "match.to = -1: expected a number > 0"},
      {R"("tune": {"values": [2e-3, 1e-3], "tokens": 1})", "tune.values"},
      {R"("tune": {"values": [1e-3, 2e-3]})", "tune.tokens: missing"},
      {R"("grids": [{"keys": {"optim.lr": []}}])", "grids[0].keys"},
      {R"("name": "../x")", "name = \"../x\": expected a-z"},
  };
  for (const Bad& bad : cases) {
    const std::string message = refusal([&] { sweep_of(kTwo + bad.members + budget); });
    EXPECT_NE(message.find(bad.expected), std::string::npos) << bad.members << ": " << message;
    EXPECT_TRUE(message.starts_with("sweep.json: ")) << message;
  }
}

TEST(Sweep, RefusesBudgets) {
  const Bad cases[] = {
      {R"("seeds": 1)", "budget: missing"},
      {R"("budget": {})", "exactly one of tokens, flops, seconds"},
      {R"("budget": {"tokens": 1, "flops": 2})", "exactly one of tokens, flops, seconds"},
      {R"("budget": [{"tokens": 2e6}, {"tokens": 1e6}])", "expected ascending budgets"},
      {R"("budget": [{"tokens": 2e6}, {"flops": 1e16}])", "expected budgets of one kind"},
      {R"("budget": {"tokens": 0})", "budget.tokens = 0: expected a number > 0"},
  };
  for (const Bad& bad : cases) {
    const std::string message = refusal([&] { sweep_of(kTwo + bad.members); });
    EXPECT_NE(message.find(bad.expected), std::string::npos) << bad.members << ": " << message;
  }
}

TEST(Sweep, RefusesKeysOfConfigsWithTheVariant) {
  const Sweep typo = sweep_of(
      R"("budget": {"tokens": 1}, "variants": {"a": {"set": {"model.atention.kind": "cca"}}})");
  const std::string message = refusal([&] { expand(typo, {}); });
  EXPECT_NE(message.find("sweep.json: variants.a.set: model.atention.kind"), std::string::npos)
      << message;
  EXPECT_NE(message.find("nearest is model.attention.kind"), std::string::npos) << message;
  const Sweep rule = sweep_of(
      R"("budget": {"tokens": 1}, "variants": {"a": {"set": {"model.attention.kind": "ccgqa",
         "model.attention.n_kv_heads": 3}}})");
  EXPECT_NE(refusal([&] { expand(rule, {}); }).find("variants.a"), std::string::npos);
}

}  // namespace
}  // namespace strait::test
