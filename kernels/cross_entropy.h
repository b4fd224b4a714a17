#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Cross-entropy in two ops so that a row's vocabulary may come in blocks (chunks or tensor-parallel
// shards): statistics merge over blocks, then the gradient of each block needs only the merged lse.
namespace strait::kernels {

/// Label of a position that is not counted.
inline constexpr std::int32_t kIgnoreLabel = -1;

/// Merges one vocabulary block into running (max, sum of exp, label logit).
/// Start a row at (-inf, 0, 0). Afterwards lse = max + log(sum), loss = lse - label logit.
struct CrossEntropyStats {
  static constexpr const char* kName = "CrossEntropyStats";
  ConstTensor logits;  // [N, v], columns vocab_begin .. vocab_begin + v
  ConstTensor labels;  // [N] i32, kIgnoreLabel allowed
  Tensor stats;        // [N, 3] stat dtype, read and written
  std::int64_t vocab_begin = 0;
};

/// Joins the statistics of several vocabulary blocks, each merged from (-inf, 0, 0) on its own.
struct CrossEntropyMerge {
  static constexpr const char* kName = "CrossEntropyMerge";
  ConstTensor parts;  // [P, N, 3] stat dtype
  Tensor stats;       // [N, 3], assigned
};

/// loss[n] = lse - label logit, 0 where ignored; also lse itself, and the running totals.
struct CrossEntropyLoss {
  static constexpr const char* kName = "CrossEntropyLoss";
  ConstTensor stats;   // [N, 3]
  ConstTensor labels;  // [N] i32
  Tensor lse;          // [N] stat dtype
  Tensor loss = {};    // [N] stat dtype, or absent
  Tensor loss_sum;     // [1] f64, accumulated
};

/// dlogits = scale * (softmax - onehot), zero rows where ignored.
struct CrossEntropyBwd {
  static constexpr const char* kName = "CrossEntropyBwd";
  ConstTensor logits;  // [N, v]
  ConstTensor labels;  // [N] i32
  ConstTensor lse;     // [N]
  Tensor dlogits;      // [N, v], assigned; may alias logits
  std::int64_t vocab_begin = 0;
  ConstTensor scale = {};  // [1] f64 on the device, or absent: 1
};

/// All of it for rows that hold the whole vocabulary: what the three ops above make of them, but
/// the logits are read once and their gradient is written once.
struct CrossEntropyRows {
  static constexpr const char* kName = "CrossEntropyRows";
  Tensor logits;           // [N, V], replaced by their gradient
  ConstTensor labels;      // [N] i32
  Tensor loss = {};        // [N] stat dtype, or absent
  Tensor loss_sum;         // [1] f64, accumulated
  ConstTensor scale = {};  // as in CrossEntropyBwd
};

void check(const CrossEntropyStats& op);
void check(const CrossEntropyMerge& op);
void check(const CrossEntropyLoss& op);
void check(const CrossEntropyBwd& op);
void check(const CrossEntropyRows& op);
Work work(const CrossEntropyStats& op);
Work work(const CrossEntropyMerge& op);
Work work(const CrossEntropyLoss& op);
Work work(const CrossEntropyBwd& op);
Work work(const CrossEntropyRows& op);

}  // namespace strait::kernels
