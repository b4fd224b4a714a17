#include "input/windows.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>

#include "core/error.h"

namespace strait::input {

void Samples::resize(std::int64_t rows, std::int64_t length) {
  count = rows;
  seq_len = length;
  const auto size = static_cast<std::size_t>(rows * length);
  for (auto* field : {&ids, &labels, &doc_pos}) field->resize(size);
}

Windows::Windows(const TokenView& tokens, const WindowOptions& options)
    : tokens_(tokens), options_(options) {
  constexpr std::int64_t kLongest = std::numeric_limits<std::int32_t>::max();
  if (options.seq_len >= 1 && options.seq_len <= kLongest) return;
  throw core::InputError("data.seq_len: expected 1.." + std::to_string(kLongest) + ", got " +
                         std::to_string(options.seq_len));
}

std::int64_t Windows::complete() const {
  return std::max<std::int64_t>(tokens_.size - 1, 0) / options_.seq_len;
}

std::int64_t Windows::all() const {
  const std::int64_t labels = std::max<std::int64_t>(tokens_.size - 1, 0);
  return labels / options_.seq_len + (labels % options_.seq_len != 0);
}

void Windows::write(std::int64_t w, std::int64_t row, Samples& out) const {
  const std::int64_t length = options_.seq_len;
  const auto width = static_cast<std::size_t>(length);
  const std::span ids(out.ids.data() + row * length, width);
  const std::span labels(out.labels.data() + row * length, width);
  const std::span doc_pos(out.doc_pos.data() + row * length, width);
  const std::int64_t first = w < all() ? w * length : tokens_.size;
  const auto known =
      static_cast<std::size_t>(std::clamp<std::int64_t>(tokens_.size - 1 - first, 0, length));
  if (known > 0) {
    tokens_.read(first, ids.first(known));
    tokens_.read(first + 1, labels.first(known));
  }
  const std::int32_t eod = tokens_.source->eod();
  std::fill(ids.begin() + known, ids.end(), eod);
  std::fill(labels.begin() + known, labels.end(), kIgnoredLabel);
  std::int32_t position = 0;
  for (std::size_t i = 0; i < width; ++i) {
    doc_pos[i] = position++;
    if (!options_.document_mask || ids[i] != eod) continue;
    labels[i] = kIgnoredLabel;
    position = 0;
  }
}

std::int64_t counted_labels(const Samples& samples) {
  return std::ranges::count_if(samples.labels, [](auto label) { return label != kIgnoredLabel; });
}

std::int64_t label_bytes(const Samples& samples, const Tokenizer& tokenizer) {
  std::int64_t bytes = 0;
  for (const std::int32_t label : samples.labels) {
    if (label != kIgnoredLabel) bytes += tokenizer.bytes_of(label);
  }
  return bytes;
}

}  // namespace strait::input
