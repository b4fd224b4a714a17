#include "input/samples.h"

#include <algorithm>

namespace strait::input {

void Samples::resize(std::int64_t rows, std::int64_t length) {
  count = rows;
  seq_len = length;
  const auto size = static_cast<std::size_t>(rows * length);
  for (auto* field : {&ids, &labels, &doc_pos}) field->resize(size);
}

std::int64_t counted_labels(const Samples& samples) {
  return std::ranges::count_if(samples.labels, [](auto label) { return label != kIgnoredLabel; });
}

}  // namespace strait::input
