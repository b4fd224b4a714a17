#include "input/windows.h"

#include <algorithm>
#include <span>

namespace strait::input {

std::int64_t Windows::count() const {
  const std::int64_t labels = std::max<std::int64_t>(tokens_.size - 1, 0);
  return labels / options_.seq_len + (labels % options_.seq_len != 0);
}

void Windows::write(std::int64_t w, std::int64_t row, Samples& out) const {
  const std::int64_t length = options_.seq_len;
  const auto width = static_cast<std::size_t>(length);
  const std::span ids(out.ids.data() + row * length, width);
  const std::span labels(out.labels.data() + row * length, width);
  const std::span doc_pos(out.doc_pos.data() + row * length, width);
  const std::int64_t first = w < count() ? w * length : tokens_.size;
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

}  // namespace strait::input
