#include "input/text/document_batches.h"

#include <string_view>

namespace strait::input {
namespace {

constexpr std::size_t kBatchBytes = 1 << 20;

}  // namespace

GivenOrder::GivenOrder(DocumentReader& reader, std::int64_t skip) : reader_(reader) {
  RawDocument left_out;
  while (skip-- > 0 && reader_.next(left_out)) {
  }
}

std::optional<std::vector<RawDocument>> GivenOrder::next() {
  std::vector<RawDocument> batch;
  std::size_t bytes = 0;
  for (RawDocument document; bytes < kBatchBytes && reader_.next(document);) {
    bytes += document.bytes.size();
    batch.push_back(std::move(document));
  }
  if (batch.empty()) return std::nullopt;
  return batch;
}

/// The next part and its order; false at the end. A part that is left out as a whole is not
/// ordered.
bool MixprOrder::read_part() {
  do {
    part_.clear();
    given_ = 0;
    std::int64_t bytes = 0;
    for (RawDocument document; bytes < options_.part_bytes && reader_.next(document);) {
      RawDocument text{.bytes = text_of(document, options_.text_key),
                       .place = std::move(document.place)};
      bytes += static_cast<std::int64_t>(text.bytes.size());
      part_.push_back(std::move(text));
    }
    if (part_.empty()) return false;
    if (skip_ < std::ssize(part_)) break;
    skip_ -= std::ssize(part_);
  } while (true);
  std::vector<std::string_view> texts;
  for (const RawDocument& document : part_) texts.push_back(document.bytes);
  MixprOrdering ordering = mixpr_order(texts, options_.order);
  if (options_.on_part) options_.on_part(ordering);
  order_ = std::move(ordering.documents);
  given_ = static_cast<std::size_t>(skip_);
  skip_ = 0;
  return true;
}

std::optional<std::vector<RawDocument>> MixprOrder::next() {
  if (given_ == order_.size() && !read_part()) return std::nullopt;
  std::vector<RawDocument> batch;
  for (std::size_t bytes = 0; bytes < kBatchBytes && given_ < order_.size();) {
    batch.push_back(std::move(part_[static_cast<std::size_t>(order_[given_++])]));
    bytes += batch.back().bytes.size();
  }
  return batch;
}

}  // namespace strait::input
