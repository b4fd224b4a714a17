#include "ablate/match.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "config/resolve.h"
#include "core/param_table.h"
#include "model/transformer.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

/// Elements of all that a model trains, as its layers register it.
std::int64_t allocated(config::Model model) {
  model.attention.n_kv_heads = config::kv_heads(model.attention);
  model.attention.head_dim = config::head_dim(model);
  const parallel::Mesh mesh;
  core::ParamTable table(DType::f32);
  const model::Transformer transformer({.model = model, .mesh = mesh, .table = table},
                                       config::Recompute::none);
  return table.trainable_elements();
}

/// A base and variants of random shapes, dense or with experts.
class RandomSweep {
 public:
  explicit RandomSweep(unsigned seed) : random_(seed) {}

  Sweep next() {
    const std::int64_t G = pick({1, 2, 4}), H = G * pick({2, 4, 8}), d = 2 * pick({2, 4, 8});
    moe_ = pick({0, 1}) == 1;
    const std::int64_t D = H * d;
    const auto n = [](std::int64_t value) { return std::to_string(value); };
    const std::string ffn = moe_ ? R"({"kind": "moe", "moe": {"n_experts": )" + n(pick({2, 4, 8})) +
                                       R"(, "top_k": )" + n(pick({1, 2})) + R"(, "d_expert": )" +
                                       n(between(8, 200)) + "}}"
                                 : R"({"d_ff": )" + n(between(8, 400)) + "}";
    const std::string base =
        R"({"model": {"vocab_size": )" + n(between(257, 999)) + R"(, "d_model": )" + n(D) +
        R"(, "n_layers": )" + n(between(1, 6)) + R"(, "tie_embeddings": )" +
        (pick({0, 1}) ? "true" : "false") + R"(, "attention": {"n_heads": )" + n(H) +
        R"(, "head_dim": )" + n(d) + R"(}, "ffn": )" + ffn +
        R"(}, "data": {"train": "random", "seq_len": 64}, "train": {"steps": 1, "batch_size": 1}})";
    const std::string kv = R"("model.attention.n_kv_heads": )" + n(G);
    const std::string variants =
        R"({"mha": {"set": {"model.attention.kind": "mha"}},
            "gqa": {"set": {"model.attention.kind": "gqa", )" +
        kv + R"(}},
            "cca": {"set": {"model.attention.kind": "cca", "model.attention.n_heads": )" +
        n(G) + R"(}}, "ccgqa": {"set": {"model.attention.kind": "ccgqa", )" + kv + R"(}},
            "mla": {"set": {"model.attention.kind": "mla", "model.attention.head_dim": 0,
              "model.attention.mla.q_rank": )" +
        n(between(4, 32)) + R"(, "model.attention.mla.kv_rank": )" + n(between(4, 32)) +
        R"(, "model.attention.mla.nope_dim": )" + n(d) + R"(, "model.attention.mla.rope_dim": 4,
              "model.attention.mla.value_dim": )" +
        n(d) + "}}}";
    constexpr const char* kQuantity[] = {"total_parameters", "active_parameters",
                                         "non_embedding_parameters", "train_flops_per_token"};
    const std::string first = moe_ ? "model.ffn.moe.d_expert" : "model.ffn.d_ff";
    const std::string free = pick({0, 1}) ? R"(", "model.n_layers"])" : R"("])";
    return read_sweep(R"({"base": )" + base + R"(, "variants": )" + variants +
                          R"(, "budget": {"tokens": 1000}, "match": {"quantity": ")" +
                          kQuantity[pick({0, 1, 2, 3})] + R"(", "to": "mha", "tolerance": 0.02,
                          "free": [")" +
                          first + free + R"(, "multiple": {")" + first + R"(": )" +
                          n(pick({1, 2, 8, 64})) + "}}}",
                      "sweep.json", "");
  }

 private:
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  std::int64_t pick(std::vector<std::int64_t> values) {
    return values[static_cast<std::size_t>(between(0, std::ssize(values) - 1))];
  }

  std::mt19937 random_;
  bool moe_ = false;
};

// Solved variants meet the target, or are refused with the best there is; what is counted is what
// the layers allocate.
TEST(Match, RandomBasesAreMetOrRefused) {
  RandomSweep random(7);
  int met = 0, refused = 0;
  for (int i = 0; i < 150; ++i) {
    const Sweep sweep = random.next();
    const std::vector<Variant> variants = expand(sweep, {});
    const double target = count(variants[0].config).of(sweep.match->quantity);
    for (std::size_t v = 1; v < variants.size(); ++v) {
      std::vector<Solved> solved;
      const std::string message =
          refusal([&] { solved.push_back(solve(variants[v], *sweep.match, target, "here")); });
      if (!message.empty()) {
        EXPECT_NE(message.find("the best is"), std::string::npos) << message;
        ++refused;
        continue;
      }
      ++met;
      const Solved& one = solved.front();
      EXPECT_LE(std::abs(one.deviation), sweep.match->tolerance);
      EXPECT_EQ(count(one.variant.config).of(sweep.match->quantity) / target - 1, one.deviation);
      EXPECT_EQ(one.counts.total_parameters,
                static_cast<double>(allocated(one.variant.config.model)));
      const auto& ffn = one.variant.config.model.ffn;
      const std::int64_t width = ffn.kind == config::FfnKind::moe ? ffn.moe.d_expert : ffn.d_ff;
      EXPECT_EQ(width % sweep.match->free[0].multiple == 0 || one.solved.empty(), true);
    }
  }
  EXPECT_GT(met, 200) << "of 600; a solver that refuses everything proves nothing";
  EXPECT_GT(refused, 20) << "steps of 64 cannot always do";
}

/// A refusal's best is the best: no multiple of the free key does better.
TEST(Match, RefusesWithTheBestAchievable) {
  const Sweep sweep = sweep_of(
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
           "cca": {"set": {"model.attention.kind": "cca", "model.attention.n_heads": 1}}},
         "budget": {"tokens": 1}, "match": {"quantity": "total_parameters", "to": "mha",
         "tolerance": 1e-4, "free": ["model.ffn.d_ff"], "multiple": 64})");
  const std::vector<Variant> variants = expand(sweep, {});
  const double target = count(variants[0].config).total_parameters;
  double best = 1e300;
  std::int64_t at = 0;
  for (std::int64_t d_ff = 64; d_ff < 4096; d_ff += 64) {
    config::Config config = variants[1].config;
    config.model.ffn.d_ff = d_ff;
    const double off = std::abs(count(config).total_parameters / target - 1);
    if (off < best) at = d_ff;
    best = std::min(best, off);
  }
  const std::string message = refusal([&] { match(sweep, variants); });
  EXPECT_NE(message.find("sweep.json: variants.cca: match: cannot reach total_parameters"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("model.ffn.d_ff = " + std::to_string(at) + ";"), std::string::npos)
      << message;
}

TEST(Match, RoundsToTheSideAskedFor) {
  for (const char* side : {"below", "above", "nearest"}) {
    const Sweep sweep = sweep_of(
        R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
             "gqa": {"set": {"model.attention.kind": "gqa", "model.attention.n_kv_heads": 1}}},
           "budget": {"tokens": 1}, "match": {"quantity": "non_embedding_parameters", "to": "mha",
           "tolerance": 0.2, "free": ["model.ffn.d_ff"], "multiple": 13, "rounding": ")" +
        std::string(side) + "\"}");
    const auto solved = match(sweep, expand(sweep, {}));
    EXPECT_EQ(solved[0].deviation, 0) << "the target stays";
    EXPECT_TRUE(solved[0].solved.empty());
    const double step = 2.0 * 3 * 32 * 13 / solved[0].counts.non_embedding_parameters;
    const double off = solved[1].deviation;
    const std::string word = side;
    EXPECT_LT(std::abs(off), word == "nearest" ? step / 2 : step) << word;
    EXPECT_TRUE(word != "below" || off <= 0) << off;
    EXPECT_TRUE(word != "above" || off >= 0) << off;
    EXPECT_EQ(solved[1].variant.config.model.ffn.d_ff % 13, 0);
  }
}

TEST(Match, FurtherKeysMoveOnlyIfTheyMust) {
  const std::string variants =
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}}}, "budget": {"tokens": 1}, )";
  const auto solved_for = [&](const std::string& to) {
    const Sweep sweep =
        sweep_of(variants + R"("match": {"quantity": "non_embedding_parameters", "to": )" + to +
                 R"(, "free": ["model.ffn.d_ff", "model.n_layers"], "tolerance": 0.01})");
    return match(sweep, expand(sweep, {}))[0].variant.config.model;
  };
  EXPECT_EQ(solved_for("30000").n_layers, 2) << "the width alone does it";
  // Two layers of attention alone are more than this.
  EXPECT_EQ(solved_for("7000").n_layers, 1);
}

TEST(Match, RefusesAKeyWithoutEffect) {
  const Sweep sweep = sweep_of(
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}}},
         "budget": {"tokens": 1}, "match": {"quantity": "kv_bytes_per_token",
         "to": 5000, "free": ["model.ffn.d_ff"]})");
  EXPECT_NE(refusal([&] { match(sweep, expand(sweep, {})); }).find("does not raise"),
            std::string::npos);
  const Sweep unknown = sweep_of(
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}}},
         "budget": {"tokens": 1}, "match": {"quantity": "total_parameters",
         "to": 5000, "free": ["model.ffn.d_f"]})");
  EXPECT_NE(refusal([&] { match(unknown, expand(unknown, {})); }).find("nearest is model.ffn.d_ff"),
            std::string::npos);
}

TEST(Match, SaysToWhomTheAdvantageGoes) {
  const Sweep sweep = sweep_of(
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
           "gqa": {"set": {"model.attention.kind": "gqa", "model.attention.n_kv_heads": 1}},
           "norm": {"set": {"model.attention.kind": "mha", "model.attention.qk_norm": true}}},
         "budget": {"tokens": 1}, "match": {"quantity": "total_parameters", "to": "mha",
         "free": ["model.ffn.d_ff"]})");
  const auto sentences = not_matched(match(sweep, expand(sweep, {})), "mha", 0.01);
  ASSERT_EQ(sentences.size(), 1u);
  EXPECT_EQ(sentences[0],
            "kv_bytes_per_token: 128 (gqa, -75.0 % of mha) to 512 (mha, norm, +0.0 %); advantage "
            "mha, norm");
}

}  // namespace
}  // namespace strait::test
