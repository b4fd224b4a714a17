#include "kernels/embedding.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaEmbedding : public DeviceTest {};

struct Case {
  std::int64_t tokens, vocab, width;
  int common;  // every so many tokens carry id 2
  Make rows = {};
};

/// All ids rare; one id with a few hundred tokens; one that fills several rounds of the list; all
/// tokens alike; a single token.
const Case kCases[] = {
    {50, 400, 64, 1000},       {900, 60, 264, 3}, {5000, 300, 40, 2},          {200, 5, 33, 1},
    {130, 7, 20, 2, kOddRows}, {1, 3, 8, 2},      {300, 9, 72, 4, kPaddedRows}};

/// Global ids; some fall outside of rows [10, 10 + vocab).
Tensor ids(Side& s, const Case& c) {
  strait::test::Buffers random(7);
  std::vector<std::int32_t> at(c.tokens);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    at[t] = static_cast<std::int32_t>(8 + random.below(c.vocab + 4));
    if (t % c.common == 0) at[t] = 12;
  }
  return s.ints("ids", at, {c.tokens});
}

TEST_F(CudaEmbedding, Forward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      for (const bool wide : {false, true}) {
        SCOPED_TRACE(c.width);
        Make table = c.rows;
        table.stat = wide;
        const auto build = [&](Side& s) {
          return EmbeddingFwd{.ids = ids(s, c),
                              .w = s.input("w", {c.vocab, c.width}, table),
                              .y = s.output("y", {c.tokens, c.width}, c.rows),
                              .vocab_begin = 10};
        };
        compare_op(storage, build, {.exact = true});
      }
    }
  }
}

TEST_F(CudaEmbedding, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      for (const bool wide : {false, true}) {
        SCOPED_TRACE(c.tokens);
        Make table = c.rows;
        table.stat = wide;
        compare_op(storage, [&](Side& s) {
          return EmbeddingBwd{.ids = ids(s, c),
                              .dy = s.input("dy", {c.tokens, c.width}, c.rows),
                              .dw = s.in_out("dw", {c.vocab, c.width}, table),
                              .vocab_begin = 10};
        });
      }
    }
  }
}

}  // namespace
}  // namespace strait::kernels
