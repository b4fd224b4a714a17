#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaCrossEntropy : public DeviceTest {};

struct Case {
  std::int64_t rows, vocab, vocab_begin = 0;
  Make make = {};
};

const Case kCases[] = {{1, 1},
                       {5, 7},
                       {3, 64, 10},
                       {40, 1003},
                       {2, 50304},
                       {7, 129, 3, kOddRows},
                       {6, 1000, 0, kPaddedRows}};

/// Labels in and outside of the block, and ignored ones.
Tensor labels(Side& s, const Case& c) {
  std::vector<std::int32_t> at(c.rows);
  for (std::int64_t n = 0; n < c.rows; ++n) {
    at[n] = static_cast<std::int32_t>(c.vocab_begin + (n * 37) % c.vocab);
    if (n % 5 == 3) at[n] = kIgnoreLabel;
    if (n % 5 == 4) at[n] = static_cast<std::int32_t>(c.vocab_begin + c.vocab);
  }
  return s.ints("labels", at, {c.rows});
}

Make logits_of(const Case& c) {
  Make make = c.make;
  make.scale = 3;
  return make;
}

/// The statistics are f32 in both dtypes, and so is the naive error.
TEST_F(CudaCrossEntropy, Stats) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.vocab);
      for (const bool fresh : {true, false}) {
        std::vector<double> start;
        for (std::int64_t n = 0; n < c.rows; ++n) {
          const double max = fresh ? -std::numeric_limits<double>::infinity() : n % 7 - 2.0;
          start.insert(start.end(), {max, fresh ? 0.0 : 3.5, 0.25});
        }
        compare_op(storage, [&](Side& s) {
          return CrossEntropyStats{
              .logits = s.input("logits", {c.rows, c.vocab}, logits_of(c)),
              .labels = labels(s, c),
              .stats = s.values("stats", start, {c.rows, 3}, {.stat = true, .written = true}),
              .vocab_begin = c.vocab_begin};
        });
      }
    }
  }
}

TEST_F(CudaCrossEntropy, Loss) {
  for (const bool per_row : {true, false}) {
    for (const std::int64_t rows : {1, 33, 3000}) {
      std::vector<double> stats;
      for (std::int64_t n = 0; n < rows; ++n) {
        stats.insert(stats.end(), {3.0 + n % 11, 1.5 + n % 3, 2.0 - n % 5});
      }
      compare_op(DType::f32, [&](Side& s) {
        CrossEntropyLoss op{
            .stats = s.values("stats", stats, {rows, 3}, {.stat = true}),
            .labels = labels(s, {rows, 50}),
            .lse = s.output("lse", {rows}, {.stat = true}),
            .loss_sum = s.values("sum", {2.5}, {1}, {.f64 = true, .written = true})};
        if (per_row) op.loss = s.output("loss", {rows}, {.stat = true});
        return op;
      });
    }
  }
}

TEST_F(CudaCrossEntropy, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.vocab);
      const double lse = std::log(static_cast<double>(c.vocab)) + 4;
      for (const bool in_place : {false, true}) {
        compare_op(storage, [&](Side& s) {
          const Tensor out = in_place ? s.in_out("logits", {c.rows, c.vocab}, logits_of(c))
                                      : s.output("dlogits", {c.rows, c.vocab}, c.make);
          const Tensor in = in_place ? out : s.input("logits", {c.rows, c.vocab}, logits_of(c));
          return CrossEntropyBwd{.logits = in,
                                 .labels = labels(s, c),
                                 .lse = s.input("lse", {c.rows}, {.stat = true, .mean = lse}),
                                 .dlogits = out,
                                 .vocab_begin = c.vocab_begin,
                                 .scale = s.values("scale", {0.125}, {1}, {.f64 = true})};
        });
      }
    }
  }
}

/// Rows that fit shared memory, that do not (in f32), that are not whole packets.
TEST_F(CudaCrossEntropy, Rows) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : {Case{5, 7}, Case{40, 1003}, Case{9, 1000}, Case{3, 50304}, Case{2, 70000},
                          Case{6, 1000, 0, kPaddedRows}, Case{7, 129, 0, kOddRows}}) {
      SCOPED_TRACE(c.vocab);
      for (const bool per_row : {false, true}) {
        compare_op(storage, [&](Side& s) {
          CrossEntropyRows op{
              .logits = s.in_out("logits", {c.rows, c.vocab}, logits_of(c)),
              .labels = labels(s, c),
              .loss_sum = s.values("sum", {2.5}, {1}, {.f64 = true, .written = true}),
              .scale = s.values("scale", {0.125}, {1}, {.f64 = true})};
          if (per_row) op.loss = s.output("loss", {c.rows}, {.stat = true});
          return op;
        });
      }
    }
  }
}

}  // namespace
}  // namespace strait::kernels
