#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/launch.h"
#include "tests/bench/ops/pool.h"

namespace strait::bench {

using kernels::Stream;

/// Enqueues one op on tensors of its own.
using Launch = std::function<void(const Stream&)>;

/// One op at one shape.
struct Case {
  std::string name;      // the op and what sets this case apart
  std::string shape;     // in words
  bool product = false;  // judged by FLOP/s, not by bytes/s
  std::function<Launch(Pool&)> make;
  double bytes = 0;  // where work(op) can only bound them: bytes that move with these inputs
};

/// `build(pool)` returns the op; called once per set of tensors.
template <class Build>
Case op_case(std::string name, std::string shape, Build build) {
  return {
      .name = std::move(name), .shape = std::move(shape), .make = [build](Pool& pool) -> Launch {
        return [op = build(pool)](const Stream& stream) { kernels::launch(op, stream); };
      }};
}

// Sizes of configs/bench.
inline constexpr std::int64_t kTokens = 16384, kWidth = 2048, kHidden = 5632, kVocab = 50304;
inline constexpr std::int64_t kHeadDim = 128;

std::vector<Case> block_cases();  // norms, RoPE, SwiGLU, elementwise, MLA
std::vector<Case> head_cases();   // embedding, cross-entropy
std::vector<Case> moe_cases();
std::vector<Case> grouped_cases();  // products of experts, each beside a dense one of its size
std::vector<Case> zaya_cases();     // residual scaling, parts of its router
std::vector<Case> optimizer_cases();
std::vector<Case> gemm_cases();

}  // namespace strait::bench
