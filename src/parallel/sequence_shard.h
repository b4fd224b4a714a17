#pragma once

#include <span>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"

namespace strait::parallel {

/// Key rows each query row may attend to, as intervals (see kernels/attention.h).
struct Spans {
  Tensor k_begin;  // [T] i32
  Tensor k_end;    // [T] i32
};

/// The tokens of one micro-batch on this rank and all that depends on their global position.
/// T = sequences * seq_len. Tensors live in device memory owned by a SequenceShard.
struct TokenBatch {
  std::int64_t sequences = 0;
  std::int64_t seq_len = 0;
  Tensor ids;        // [T] i32
  Tensor labels;     // [T] i32, kIgnoreLabel where not counted
  Tensor positions;  // [T] i32 RoPE positions
  Tensor doc_pos;    // [T] i32 tokens before this one in its document
  Spans spans;
  Spans sliding;  // of layers with a window of their own; undefined without such layers
  std::int64_t tokens() const { return sequences * seq_len; }
};

/// Which keys a query sees, and where RoPE counts from.
struct MaskRule {
  bool causal = true;
  std::int64_t window = 0;              // own token included; 0: no window
  std::int64_t sliding_window = 0;      // of the sliding layers; 0: there are none
  bool positions_from_document = true;  // else from the sequence start
};

/// The only code that knows where sequences are cut: it turns samples into a TokenBatch. With one
/// context rank a rank holds whole sequences. Device memory comes from `inputs`, once.
class SequenceShard {
 public:
  SequenceShard(const MaskRule& rule, std::int64_t max_sequences, std::int64_t seq_len);

  /// Takes the device tensors. Call once while `inputs` plans and once after it allocated.
  void bind(core::Arena& inputs);

  /// Elements of a block: all rows of a full batch, as they lie in device memory.
  std::int64_t block_elements() const { return rows() * max_sequences_ * seq_len_; }
  /// Writes the rows of some sequences into a block in host memory: ids, labels, doc_pos each
  /// [sequences * seq_len].
  void fill(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
            std::span<const std::int32_t> doc_pos, std::int32_t* block) const;
  /// Enqueues a copy of a full batch's block that is in device memory already.
  const TokenBatch& take(ConstTensor block, const Stream& stream);
  /// Fills a block and copies it. In the plan device only shapes are set.
  const TokenBatch& load(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                         std::span<const std::int32_t> doc_pos, const Stream& stream);
  /// A batch of the full size without data, for planning.
  const TokenBatch& blank();

 private:
  std::int64_t rows() const { return rule_.sliding_window > 0 ? 7 : 6; }
  void shape_batch(std::int64_t sequences);
  void fill_spans(std::span<const std::int32_t> doc_pos, std::int32_t* block) const;

  MaskRule rule_;
  std::int64_t max_sequences_;
  std::int64_t seq_len_;
  Tensor storage_;  // [rows, max T] i32
  TokenBatch batch_;
  std::vector<std::int32_t> host_;  // a block on its way
};

}  // namespace strait::parallel
