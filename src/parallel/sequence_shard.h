#pragma once

#include <span>
#include <vector>

#include "core/arena.h"
#include "core/tensor.h"
#include "parallel/sequence_cut.h"

namespace strait::parallel {

/// Key rows each query row may attend to, as intervals (see kernels/attention.h), one for each
/// block of keys that comes from elsewhere.
struct Spans {
  Tensor k_begin;  // [T] i32, or [blocks, T]
  Tensor k_end;    // like k_begin
  Spans block(std::int64_t i) const;
};

/// The tokens of one micro-batch on this context rank and all that depends on their global
/// position. T = sequences * seq_len; of these rows, layers that need no neighbours see the share
/// of this tensor rank, rows(). Tensors live in device memory owned by a SequenceShard.
struct TokenBatch {
  std::int64_t sequences = 0;
  std::int64_t length = 0;   // S, tokens of a whole sequence
  std::int64_t seq_len = 0;  // tokens of a sequence here, padding included
  std::int64_t chunk = 0;    // of these, how many follow one another
  Tensor ids;                // [T] i32
  Tensor labels;             // [T] i32, kIgnoreLabel where not counted
  Tensor positions;          // [T] i32 RoPE positions
  Tensor doc_pos;            // [T] i32 tokens before this one in its document
  Spans spans;
  Spans sliding;      // of layers with a window of their own; undefined without such layers
  Tensor sequence;    // [rows] i32 sequence of each row, -1 for padding; undefined when rows() are
                      // whole sequences
  Tensor place;       // [rows] i32 tokens of the sequence before each row; padding comes last.
                      // Undefined when rows() are whole sequences
  Tensor key_order;   // [cp T] i32: row of all ranks' keys, rank by rank, at each place of the
                      // sequences; undefined unless keys are gathered
  Tensor rank_order;  // its inverse
  int tensor_ranks = 1;
  std::int64_t tokens() const { return sequences * seq_len; }
  std::int64_t rows() const { return tokens() / tensor_ranks; }
};

/// Which keys a query sees, and where RoPE counts from.
struct MaskRule {
  bool causal = true;
  std::int64_t window = 0;              // own token included; 0: no window
  std::int64_t sliding_window = 0;      // of the sliding layers; 0: there are none
  bool positions_from_document = true;  // else from the sequence start

  static MaskRule of(const config::Attention& attention);
};

/// Turns samples into the TokenBatch of a rank: the only code, with SequenceCut, that knows where
/// sequences are cut. Device memory comes from `inputs`, once.
class SequenceShard {
 public:
  SequenceShard(const MaskRule& rule, std::int64_t max_sequences, const SequenceCut& cut);
  /// Whole sequences of `seq_len` tokens.
  SequenceShard(const MaskRule& rule, std::int64_t max_sequences, std::int64_t seq_len);

  /// Takes the device tensors. Call once while `inputs` plans and once after it allocated.
  void bind(core::Arena& inputs);

  /// Elements of a block: all rows of a full batch, as they lie in device memory.
  std::int64_t block_elements() const { return rows_.count * max_tokens(); }
  /// Writes the rows of some sequences into a block in host memory: ids, labels, doc_pos each
  /// [sequences * S].
  void fill(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
            std::span<const std::int32_t> doc_pos, std::int32_t* block) const;
  /// Enqueues a copy of a full batch's block that is in device memory already.
  const TokenBatch& take(ConstTensor block, const Stream& stream);
  /// Fills a block and copies it. In the plan device only shapes are set.
  const TokenBatch& load(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                         std::span<const std::int32_t> doc_pos, const Stream& stream);
  /// A batch of the full size without data, for planning.
  const TokenBatch& blank();

  const SequenceCut& cut() const { return cut_; }

 private:
  /// Where each field begins in a block, in rows of max_tokens(); -1: not there.
  struct Rows {
    int ids = 0, labels = 1, doc_pos = 2, positions = 3;
    int k_begin = 4, k_end = 5, sliding = -1, sequence = -1, place = -1;
    int key_order = -1, rank_order = -1;
    int count = 6;
  };
  /// Of one padded sequence: the document position of each token, and the interval it sees.
  struct Sight {
    std::vector<std::int32_t> doc_pos, begin, sliding, end;
  };
  std::int64_t max_tokens() const { return max_sequences_ * cut_.local(); }
  int key_blocks() const { return cut_.ring ? cut_.cp : 1; }
  void lay_out();
  void shape_batch(std::int64_t sequences);
  Spans spans(int begin, int end, std::int64_t tokens) const;
  Sight sight(std::span<const std::int32_t> doc_pos) const;
  void fill_spans(std::int64_t b, const Sight& sight, std::int32_t* block) const;
  void fill_orders(std::int64_t sequences, std::int32_t* block) const;

  MaskRule rule_;
  std::int64_t max_sequences_;
  SequenceCut cut_;
  Rows rows_;
  Tensor storage_;  // [rows, max T] i32
  TokenBatch batch_;
  std::vector<std::int32_t> host_;  // a block on its way
};

}  // namespace strait::parallel
