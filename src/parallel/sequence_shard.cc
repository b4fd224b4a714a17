#include "parallel/sequence_shard.h"

#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/memory.h"

namespace strait::parallel {
namespace {

SequenceCut whole(std::int64_t seq_len) {
  SequenceCut cut;
  cut.length = seq_len;
  return cut;
}

}  // namespace

Spans Spans::block(std::int64_t i) const {
  if (k_begin.rank == 1) return *this;
  const auto row = [&](const Tensor& t) {
    return Tensor(t.slice(0, i, 1).data, t.dtype, {t.shape[1]});
  };
  return {row(k_begin), row(k_end)};
}

MaskRule MaskRule::of(const config::Attention& attention) {
  return {.causal = attention.causal,
          .window = attention.window,
          .sliding_window = attention.sliding.window,
          .positions_from_document = attention.rope.positions == config::RopePositions::document};
}

SequenceShard::SequenceShard(const MaskRule& rule, std::int64_t max_sequences,
                             const SequenceCut& cut)
    : rule_(rule), max_sequences_(max_sequences), cut_(cut) {
  lay_out();
  host_.resize(static_cast<std::size_t>(block_elements()));
}

SequenceShard::SequenceShard(const MaskRule& rule, std::int64_t max_sequences, std::int64_t seq_len)
    : SequenceShard(rule, max_sequences, whole(seq_len)) {}

void SequenceShard::lay_out() {
  int next = 4;
  const auto take = [&](int& field, int count) {
    field = next;
    next += count;
  };
  take(rows_.k_begin, key_blocks());
  take(rows_.k_end, key_blocks());
  if (rule_.sliding_window > 0) take(rows_.sliding, key_blocks());
  if (cut_.cuts()) {
    take(rows_.sequence, 1);
    take(rows_.place, 1);
  }
  if (cut_.cp > 1 && !cut_.ring) {
    take(rows_.key_order, cut_.cp);
    take(rows_.rank_order, cut_.cp);
  }
  rows_.count = next;
}

void SequenceShard::bind(core::Arena& inputs) {
  storage_ = inputs.take(DType::i32, {rows_.count, max_tokens()});
}

Spans SequenceShard::spans(int begin, int end, std::int64_t tokens) const {
  const auto rows = [&](int first) {
    Tensor all = storage_.slice(0, first, key_blocks()).slice(1, 0, tokens);
    return key_blocks() > 1 ? all : Tensor(all.data, DType::i32, {tokens});
  };
  return {rows(begin), rows(end)};
}

void SequenceShard::shape_batch(std::int64_t sequences) {
  const std::int64_t tokens = sequences * cut_.local();
  batch_ = {};
  batch_.sequences = sequences;
  batch_.length = cut_.length;
  batch_.seq_len = cut_.local();
  batch_.chunk = cut_.chunk();
  batch_.tensor_ranks = cut_.tp;
  const auto vector = [&](int first, std::int64_t size) {
    return Tensor(storage_.slice(0, first, 1).data, DType::i32, {size});
  };
  batch_.ids = vector(rows_.ids, tokens);
  batch_.labels = vector(rows_.labels, tokens);
  batch_.doc_pos = vector(rows_.doc_pos, tokens);
  batch_.positions = vector(rows_.positions, tokens);
  batch_.spans = spans(rows_.k_begin, rows_.k_end, tokens);
  if (rows_.sliding >= 0) batch_.sliding = spans(rows_.sliding, rows_.k_end, tokens);
  if (rows_.sequence >= 0) {
    const std::int64_t rows = batch_.rows();
    const auto own = [&](int field) {
      return vector(field, tokens).slice(0, cut_.tp_rank * rows, rows);
    };
    batch_.sequence = own(rows_.sequence);
    batch_.place = own(rows_.place);
  }
  if (rows_.key_order >= 0) {
    batch_.key_order = vector(rows_.key_order, cut_.cp * tokens);
    batch_.rank_order = vector(rows_.rank_order, cut_.cp * tokens);
  }
}

const TokenBatch& SequenceShard::blank() {
  shape_batch(max_sequences_);
  return batch_;
}

SequenceShard::Sight SequenceShard::sight(std::span<const std::int32_t> doc_pos) const {
  const auto padded = static_cast<std::size_t>(cut_.padded());
  Sight sight{.doc_pos = {doc_pos.begin(), doc_pos.end()},
              .begin = std::vector<std::int32_t>(padded),
              .sliding = std::vector<std::int32_t>(padded),
              .end = std::vector<std::int32_t>(padded)};
  // Padding is a document of its own, which nothing sees and no label counts.
  for (std::int32_t at = 0; sight.doc_pos.size() < padded; ++at) sight.doc_pos.push_back(at);
  auto document_end = static_cast<std::int32_t>(padded);
  for (auto t = document_end - 1; t >= 0; --t) {
    const auto first_seen = [&](std::int64_t window) {
      const std::int64_t begin = t - sight.doc_pos[t];
      return static_cast<std::int32_t>(window > 0 ? std::max(begin, t + 1 - window) : begin);
    };
    sight.begin[t] = first_seen(rule_.window);
    sight.sliding[t] = first_seen(rule_.sliding_window);
    sight.end[t] = rule_.causal ? t + 1 : document_end;
    if (sight.doc_pos[t] == 0) document_end = t;
  }
  return sight;
}

void SequenceShard::fill_spans(std::int64_t b, const Sight& sight, std::int32_t* block) const {
  const std::int64_t local = cut_.local(), row = max_tokens();
  for (int source = 0; source < key_blocks(); ++source) {
    // Keys lie in the order of the sequences, or as the source rank holds them.
    const auto key_row = [&](std::int32_t position) {
      return static_cast<std::int32_t>(cut_.ring ? b * local + cut_.before(source, position)
                                                 : b * cut_.padded() + position);
    };
    for (std::int64_t i = 0; i < local; ++i) {
      const auto p = static_cast<std::size_t>(cut_.position(cut_.cp_rank, i));
      const std::int64_t at = source * row + b * local + i;
      block[rows_.k_begin * row + at] = key_row(sight.begin[p]);
      block[rows_.k_end * row + at] = key_row(sight.end[p]);
      if (rows_.sliding >= 0) block[rows_.sliding * row + at] = key_row(sight.sliding[p]);
    }
  }
}

void SequenceShard::fill_orders(std::int64_t sequences, std::int32_t* block) const {
  if (rows_.key_order < 0) return;
  const std::int64_t local = cut_.local(), row = max_tokens();
  std::int32_t* key_order = block + rows_.key_order * row;
  std::int32_t* rank_order = block + rows_.rank_order * row;
  for (int rank = 0; rank < cut_.cp; ++rank) {
    for (std::int64_t b = 0; b < sequences; ++b) {
      for (std::int64_t i = 0; i < local; ++i) {
        const std::int64_t from = (rank * sequences + b) * local + i;
        const std::int64_t to = b * cut_.padded() + cut_.position(rank, i);
        key_order[to] = static_cast<std::int32_t>(from);
        rank_order[from] = static_cast<std::int32_t>(to);
      }
    }
  }
}

void SequenceShard::fill(std::span<const std::int32_t> ids, std::span<const std::int32_t> labels,
                         std::span<const std::int32_t> doc_pos, std::int32_t* block) const {
  const std::int64_t local = cut_.local(), row = max_tokens(), length = cut_.length;
  const auto sequences = static_cast<std::int64_t>(ids.size()) / length;
  for (std::int64_t b = 0; b < sequences; ++b) {
    const auto first = static_cast<std::size_t>(b * length),
               size = static_cast<std::size_t>(length);
    const Sight seen = sight(doc_pos.subspan(first, size));
    for (std::int64_t i = 0; i < local; ++i) {
      const std::int64_t p = cut_.position(cut_.cp_rank, i), at = b * local + i;
      const bool data = p < length;
      block[rows_.ids * row + at] = data ? ids[first + p] : 0;
      block[rows_.labels * row + at] = data ? labels[first + p] : kernels::kIgnoreLabel;
      block[rows_.doc_pos * row + at] = seen.doc_pos[p];
      const auto global = static_cast<std::int32_t>(p);
      block[rows_.positions * row + at] = rule_.positions_from_document ? seen.doc_pos[p] : global;
      if (rows_.sequence >= 0) {
        block[rows_.sequence * row + at] = data ? static_cast<std::int32_t>(b) : -1;
        block[rows_.place * row + at] = global;
      }
    }
    fill_spans(b, seen, block);
  }
  fill_orders(sequences, block);
}

const TokenBatch& SequenceShard::take(ConstTensor block, const Stream& stream) {
  shape_batch(max_sequences_);
  kernels::copy_on_device(storage_.data, block.data, storage_.bytes(), stream);
  return batch_;
}

const TokenBatch& SequenceShard::load(std::span<const std::int32_t> ids,
                                      std::span<const std::int32_t> labels,
                                      std::span<const std::int32_t> doc_pos, const Stream& stream) {
  shape_batch(static_cast<std::int64_t>(ids.size()) / cut_.length);
  fill(ids, labels, doc_pos, host_.data());
  kernels::copy_to_device(storage_.data, host_.data(), storage_.bytes(), stream);
  return batch_;
}

}  // namespace strait::parallel
