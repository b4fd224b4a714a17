#include "kernels/gemm.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

template <class Build>
void add(std::vector<Case>& cases, const std::string& name, const std::string& what, Build build) {
  Case product = op_case("Gemm " + name, what, build);
  product.product = true;
  cases.push_back(std::move(product));
}

std::string sizes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
}

/// The products of a linear layer on `tokens` rows: y = x w^T and its gradients.
void add_linear(std::vector<Case>& cases, const std::string& name, std::int64_t tokens,
                std::int64_t in, std::int64_t out) {
  const auto x = [=](Pool& pool) { return pool.normal(kBf16, {tokens, in}); };
  const auto y = [=](Pool& pool) { return pool.normal(kBf16, {tokens, out}); };
  const auto w = [=](Pool& pool) { return pool.normal(kBf16, {out, in}); };
  add(cases, name + " forward", sizes(tokens, out, in), [=](Pool& pool) {
    return kernels::Gemm{.a = x(pool), .b = w(pool), .c = y(pool), .trans_b = true};
  });
  add(cases, name + " dgrad", sizes(tokens, in, out),
      [=](Pool& pool) { return kernels::Gemm{.a = y(pool), .b = w(pool), .c = x(pool)}; });
  for (const bool adding : {false, true}) {  // a step's first micro-batch assigns
    add(cases, name + (adding ? " wgrad f32 adding" : " wgrad f32"), sizes(out, in, tokens),
        [=](Pool& pool) {
          return kernels::Gemm{.a = y(pool),
                               .b = x(pool),
                               .c = pool.normal(kF32, {out, in}),
                               .trans_a = true,
                               .accumulate = adding};
        });
  }
}

/// As in layers that feed one input to two branches.
void add_accumulating(std::vector<Case>& cases, const std::string& name, std::int64_t in,
                      std::int64_t out) {
  add(cases, name + " dgrad adding", sizes(kTokens, in, out), [=](Pool& pool) {
    return kernels::Gemm{.a = pool.normal(kBf16, {kTokens, out}),
                         .b = pool.normal(kBf16, {out, in}),
                         .c = pool.normal(kBf16, {kTokens, in}),
                         .accumulate = true};
  });
}

}  // namespace

std::vector<Case> gemm_cases() {
  std::vector<Case> cases;
  add_linear(cases, "mha qkv", kTokens, kWidth, 3 * kWidth);
  add_linear(cases, "mha, ccgqa out", kTokens, kWidth, kWidth);
  add_linear(cases, "cca proj", kTokens, kWidth, 1536);
  add_linear(cases, "cca out", kTokens, 512, kWidth);
  add_linear(cases, "ccgqa proj", kTokens, kWidth, 3072);
  add_linear(cases, "gate_up", kTokens, kWidth, 2 * kHidden);
  add_accumulating(cases, "gate_up", kWidth, 2 * kHidden);
  add_linear(cases, "down", kTokens, kHidden, kWidth);
  for (const std::int64_t rows : {2048, 4096}) {
    add_linear(cases, "lm_head", rows, kWidth, kVocab);
  }
  return cases;
}

}  // namespace strait::bench
