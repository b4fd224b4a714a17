#include <algorithm>
#include <numeric>

#include "kernels/gemm.h"
#include "tests/bench/ops/case.h"

namespace strait::bench {
namespace {

constexpr DType kBf16 = DType::bf16, kF32 = DType::f32;

/// A linear map of experts: `rows` rows in all, [experts, out, in] weights.
struct Experts {
  std::int64_t rows, experts, in, out;
  bool skewed = false;  // most rows on one expert, as routers choose before they are trained

  std::string shape(bool gradient) const {
    const std::string sizes = gradient ? size(out, in, rows) : size(rows, out, in);
    return sizes + ", " + std::to_string(experts) + " experts";
  }
  /// First rows of experts that every row chose at random, or most of them alike.
  std::vector<std::int32_t> offsets() const {
    std::mt19937 random(5);
    std::uniform_int_distribution<std::size_t> any(1, static_cast<std::size_t>(experts));
    std::vector<std::int32_t> at(static_cast<std::size_t>(experts) + 1);
    for (std::int64_t r = 0; r < rows; ++r) ++at[skewed && r % 8 != 0 ? 3 : any(random)];
    for (std::size_t e = 1; e < at.size(); ++e) at[e] += at[e - 1];
    return at;
  }

 private:
  static std::string size(std::int64_t m, std::int64_t n, std::int64_t k) {
    return std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
  }
};

template <class Build>
void add(std::vector<Case>& cases, const std::string& name, const std::string& shape, Build build) {
  Case product = op_case(name, shape, build);
  product.product = true;
  cases.push_back(std::move(product));
}

/// The product of the experts, then a dense one of the same total shape.
void add_product(std::vector<Case>& cases, const std::string& name, const Experts& e, bool trans) {
  const std::vector<std::int32_t> offsets = e.offsets();
  const std::int64_t in = trans ? e.in : e.out, out = trans ? e.out : e.in;
  const std::string shape = Experts{e.rows, e.experts, in, out}.shape(false);
  add(cases, "GroupedGemm " + name, shape, [=](Pool& pool) {
    return kernels::GroupedGemm{.a = pool.normal(kBf16, {e.rows, in}),
                                .b = pool.normal(kBf16, {e.experts, e.out, e.in}),
                                .offsets = pool.ints(offsets, {e.experts + 1}),
                                .c = pool.raw(kBf16, {e.rows, out}),
                                .trans_b = trans};
  });
  add(cases, "Gemm as " + name, shape, [=](Pool& pool) {
    return kernels::Gemm{.a = pool.normal(kBf16, {e.rows, in}),
                         .b = pool.normal(kBf16, {e.out, e.in}),
                         .c = pool.raw(kBf16, {e.rows, out}),
                         .trans_b = trans};
  });
}

void add_gradient(std::vector<Case>& cases, const std::string& name, const Experts& e) {
  const std::vector<std::int32_t> offsets = e.offsets();
  for (const bool adding : {false, true}) {  // a step's first micro-batch assigns
    const std::string text = name + (adding ? " adding" : "");
    add(cases, "GroupedGemmWgrad " + text, e.shape(true), [=](Pool& pool) {
      return kernels::GroupedGemmWgrad{.a = pool.normal(kBf16, {e.rows, e.out}),
                                       .b = pool.normal(kBf16, {e.rows, e.in}),
                                       .offsets = pool.ints(offsets, {e.experts + 1}),
                                       .dw = pool.normal(kF32, {e.experts, e.out, e.in}),
                                       .accumulate = adding};
    });
    add(cases, "Gemm as " + text + " wgrad", e.shape(true), [=](Pool& pool) {
      return kernels::Gemm{.a = pool.normal(kBf16, {e.rows, e.out}),
                           .b = pool.normal(kBf16, {e.rows, e.in}),
                           .c = pool.normal(kF32, {e.out, e.in}),
                           .trans_a = true,
                           .accumulate = adding};
    });
  }
}

/// Results that go to their tokens: weighted, added, or with the router's term.
enum class ToTokens : std::uint8_t { weighted, added, with_term };

void add_to_tokens(std::vector<Case>& cases, const std::string& name, const Experts& e,
                   ToTokens kind) {
  const std::vector<std::int32_t> offsets = e.offsets();
  std::vector<std::int32_t> choice_of(static_cast<std::size_t>(e.rows));
  std::iota(choice_of.begin(), choice_of.end(), 0);
  std::shuffle(choice_of.begin(), choice_of.end(), std::mt19937(6));
  const bool trans = kind == ToTokens::weighted, term = kind == ToTokens::with_term;
  const std::int64_t in = trans ? e.in : e.out, out = trans ? e.out : e.in;
  const char* const words[] = {" to tokens", " added to tokens", " to tokens with a term"};
  add(cases, "GroupedGemm " + name + words[static_cast<int>(kind)],
      Experts{e.rows, e.experts, in, out}.shape(false), [=](Pool& pool) {
        return kernels::GroupedGemm{.a = pool.normal(kBf16, {e.rows, in}),
                                    .b = pool.normal(kBf16, {e.experts, e.out, e.in}),
                                    .more_a = term ? pool.normal(kBf16, {e.rows, 64}) : Tensor{},
                                    .more_b = term ? pool.normal(kBf16, {64, out}) : Tensor{},
                                    .offsets = pool.ints(offsets, {e.experts + 1}),
                                    .to = pool.ints(choice_of, {e.rows}),
                                    .scale = trans ? pool.normal(kF32, {e.rows}) : Tensor{},
                                    .c = pool.normal(kBf16, {e.rows, out}),
                                    .trans_b = trans,
                                    .accumulate = kind == ToTokens::added};
      });
}

/// A SwiGLU expert's two maps of width D and F.
void add_expert(std::vector<Case>& cases, const std::string& name, std::int64_t rows,
                std::int64_t experts, std::int64_t width, std::int64_t hidden) {
  for (const bool up : {true, false}) {
    const std::string map = name + (up ? " gate_up" : " down");
    const Experts e{rows, experts, up ? width : hidden, up ? 2 * hidden : width};
    add_product(cases, map + " forward", e, true);
    add_product(cases, map + " dgrad", e, false);
    add_gradient(cases, map, e);
  }
}

}  // namespace

std::vector<Case> grouped_cases() {
  std::vector<Case> cases;
  add_expert(cases, "moe", kTokens, 16, kWidth, 448);  // ccgqa and cca of configs/bench
  const Experts up{kTokens, 16, kWidth, 896}, down{kTokens, 16, 448, kWidth};
  add_to_tokens(cases, "moe down forward", down, ToTokens::weighted);
  add_to_tokens(cases, "moe gate_up dgrad", up, ToTokens::added);
  add_to_tokens(cases, "moe gate_up dgrad", up, ToTokens::with_term);
  add_gradient(cases, "moe skewed gate_up", {kTokens, 16, kWidth, 896, true});
  add_gradient(cases, "moe skewed down", {kTokens, 16, 448, kWidth, true});
  add_expert(cases, "mixtral", 2 * 4096, 8, 4096, 14336);
  return cases;
}

}  // namespace strait::bench
