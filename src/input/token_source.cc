#include "input/token_source.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "core/error.h"

namespace strait::input {
namespace {

constexpr std::int64_t kScanTokens = 1 << 16;

/// First token of the last `documents` documents: one past the EOD before them.
std::int64_t tail_begin(const TokenSource& source, std::int64_t documents) {
  std::vector<std::int32_t> block(static_cast<std::size_t>(std::min(kScanTokens, source.size())));
  std::int32_t last = 0;
  source.read(source.size() - 1, {&last, 1});
  std::int64_t ends = last == source.eod() ? 0 : 1;
  for (std::int64_t end = source.size(); end > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - kScanTokens);
    const std::span<std::int32_t> tokens(block.data(), static_cast<std::size_t>(end - begin));
    source.read(begin, tokens);
    for (std::int64_t i = end - 1; i >= begin; --i) {
      if (tokens[i - begin] == source.eod() && ++ends > documents) return i + 1;
    }
    end = begin;
  }
  throw core::InputError("data.train: expected more than " + std::to_string(documents) +
                         " ends of documents, found " + std::to_string(ends) +
                         "; the token shard contradicts its header: tokenize it again");
}

}  // namespace

void check_range(std::int64_t first, std::size_t count, std::int64_t size) {
  if (first >= 0 && first <= size && count <= static_cast<std::size_t>(size - first)) return;
  throw std::out_of_range("tokens [" + std::to_string(first) + ", +" + std::to_string(count) +
                          ") of a run of " + std::to_string(size));
}

MemorySource::MemorySource(std::vector<std::int32_t> tokens, std::int32_t eod)
    : tokens_(std::move(tokens)),
      eod_(eod),
      documents_(std::count(tokens_.begin(), tokens_.end(), eod)) {}

void MemorySource::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  std::copy_n(tokens_.begin() + first, out.size(), out.begin());
}

void TokenView::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size);
  source->read(begin + first, out);
}

void for_each_block(const TokenView& view,
                    const std::function<void(std::span<const std::int32_t>)>& visit) {
  std::vector<std::int32_t> block(static_cast<std::size_t>(std::min(kScanTokens, view.size)));
  for (std::int64_t begin = 0; begin < view.size; begin += kScanTokens) {
    const std::span part(block.data(),
                         static_cast<std::size_t>(std::min(kScanTokens, view.size - begin)));
    view.read(begin, part);
    visit(part);
  }
}

std::int64_t count_documents(const TokenSource& source) {
  const std::int32_t eod = source.eod();
  std::int64_t ends = 0;
  std::int32_t first = eod, last = eod;
  bool begun = false;
  for_each_block({.source = &source, .size = source.size()}, [&](auto block) {
    ends += std::ranges::count(block, eod);
    if (!begun) first = block.front();
    begun = true;
    last = block.back();
  });
  return ends + (last != eod) - (source.size() > 1 && first == eod);
}

JoinedSource::JoinedSource(std::vector<std::unique_ptr<TokenSource>> parts)
    : parts_(std::move(parts)) {
  for (const auto& part : parts_) {
    ends_.push_back((ends_.empty() ? 0 : ends_.back()) + part->size());
    documents_ += part->documents();
  }
}

void JoinedSource::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  auto part = static_cast<std::size_t>(std::ranges::upper_bound(ends_, first) - ends_.begin());
  for (; !out.empty(); ++part) {
    const auto here = std::min(out.size(), static_cast<std::size_t>(ends_[part] - first));
    parts_[part]->read(first - (ends_[part] - parts_[part]->size()), out.first(here));
    out = out.subspan(here);
    first += static_cast<std::int64_t>(here);
  }
}

TokenView whole(const TokenSource& source) {
  return {.source = &source, .begin = 0, .size = source.size(), .documents = source.documents()};
}

std::pair<TokenView, TokenView> hold_out(const TokenSource& source, std::int64_t documents) {
  const TokenView all = whole(source);
  if (documents < 0 || (documents > 0 && documents >= all.documents)) {
    throw core::InputError("data.val_documents = " + std::to_string(documents) + ": expected 0.." +
                           std::to_string(std::max<std::int64_t>(all.documents - 1, 0)) +
                           ", data.train holds " + std::to_string(all.documents) +
                           " of which one stays to train on; lower it, or name validation files "
                           "in data.val");
  }
  const std::int64_t cut = documents == 0 ? all.size : tail_begin(source, documents);
  return {{.source = &source, .begin = 0, .size = cut, .documents = all.documents - documents},
          {.source = &source, .begin = cut, .size = all.size - cut, .documents = documents}};
}

}  // namespace strait::input
