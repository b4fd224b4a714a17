#include "parallel/sequence_shard.h"

#include <algorithm>

#include "kernels/memory.h"

namespace strait::parallel {

SequenceShard::SequenceShard(const MaskRule& rule, std::int64_t max_sequences, std::int64_t seq_len)
    : rule_(rule), max_sequences_(max_sequences), seq_len_(seq_len) {
  host_.resize(static_cast<std::size_t>(block_elements()));
}

void SequenceShard::bind(core::Arena& inputs) {
  storage_ = inputs.take(DType::i32, {rows(), max_sequences_ * seq_len_});
}

void SequenceShard::shape_batch(std::int64_t sequences) {
  const std::int64_t tokens = sequences * seq_len_;
  batch_.sequences = sequences;
  batch_.seq_len = seq_len_;
  const auto row = [&](std::int64_t i) {
    Tensor all = storage_.slice(0, i, 1);
    return Tensor(all.data, DType::i32, {tokens});
  };
  batch_.ids = row(0);
  batch_.labels = row(1);
  batch_.doc_pos = row(2);
  batch_.positions = row(3);
  batch_.spans = {row(4), row(5)};
  if (rule_.sliding_window > 0) batch_.sliding = {row(6), row(5)};
}

const TokenBatch& SequenceShard::blank() {
  shape_batch(max_sequences_);
  return batch_;
}

void SequenceShard::fill_spans(std::span<const std::int32_t> doc_pos, std::int32_t* block) const {
  const auto tokens = static_cast<std::int32_t>(doc_pos.size());
  const std::int64_t row = max_sequences_ * seq_len_;
  std::int32_t* positions = block + 3 * row;
  std::int32_t* k_begin = block + 4 * row;
  std::int32_t* k_end = block + 5 * row;
  std::int32_t* sliding = block + 6 * row;  // where there is such a row
  std::int32_t document_end = tokens;
  for (std::int32_t t = tokens - 1; t >= 0; --t) {
    const auto in_sequence = static_cast<std::int32_t>(t % seq_len_);
    positions[t] = rule_.positions_from_document ? doc_pos[t] : in_sequence;
    const auto first_seen = [&](std::int64_t window) {
      const std::int64_t begin = t - doc_pos[t];
      return static_cast<std::int32_t>(window > 0 ? std::max(begin, t + 1 - window) : begin);
    };
    k_begin[t] = first_seen(rule_.window);
    if (rule_.sliding_window > 0) sliding[t] = first_seen(rule_.sliding_window);
    k_end[t] = rule_.causal ? t + 1 : document_end;
    if (doc_pos[t] == 0) document_end = t;
  }
}

void SequenceShard::fill(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                         std::span<const std::int32_t> doc_pos, std::int32_t* block) const {
  const std::int64_t row = max_sequences_ * seq_len_;
  std::ranges::copy(ids, block);
  std::ranges::copy(labels, block + row);
  std::ranges::copy(doc_pos, block + 2 * row);
  fill_spans(doc_pos, block);
}

const TokenBatch& SequenceShard::take(ConstTensor block, const Stream& stream) {
  shape_batch(max_sequences_);
  kernels::copy_on_device(storage_.data, block.data, storage_.bytes(), stream);
  return batch_;
}

const TokenBatch& SequenceShard::load(std::span<const std::int32_t> ids,
                                      std::span<const std::int32_t> labels,
                                      std::span<const std::int32_t> doc_pos, const Stream& stream) {
  shape_batch(static_cast<std::int64_t>(ids.size()) / seq_len_);
  fill(ids, labels, doc_pos, host_.data());
  kernels::copy_to_device(storage_.data, host_.data(), storage_.bytes(), stream);
  return batch_;
}

}  // namespace strait::parallel
