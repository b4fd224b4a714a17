#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// y[t] = w[ids[t] - vocab_begin]; zero when the id is outside this shard's rows.
struct EmbeddingFwd {
  static constexpr const char* kName = "EmbeddingFwd";
  ConstTensor ids;  // [T] i32, global token ids
  ConstTensor w;    // [v, D], rows vocab_begin .. vocab_begin + v of the table
  Tensor y;         // [T, D]
  std::int64_t vocab_begin = 0;
};

/// dw[ids[t] - vocab_begin] += dy[t], in token order (deterministic).
struct EmbeddingBwd {
  static constexpr const char* kName = "EmbeddingBwd";
  ConstTensor ids;  // [T] i32
  ConstTensor dy;   // [T, D]
  Tensor dw;        // [v, D], accumulated
  std::int64_t vocab_begin = 0;
};

void check(const EmbeddingFwd& op);
void check(const EmbeddingBwd& op);
Work work(const EmbeddingFwd& op);
Work work(const EmbeddingBwd& op);

}  // namespace strait::kernels
