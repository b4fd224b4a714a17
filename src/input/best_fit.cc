#include "input/best_fit.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <span>

namespace strait::input {

BestFit::BestFit(const TokenView& tokens, const PackingOptions& options)
    : tokens_(tokens), options_(options) {
  pack(cut_documents());
}

/// Fills pieces_ and first_ with the full sequences; returns the shorter pieces.
std::vector<BestFit::Piece> BestFit::cut_documents() {
  std::vector<Piece> rests;
  std::int64_t begin = 0, at = 0;
  const auto end_document = [&] {
    for (; at - begin >= options_.seq_len; begin += options_.seq_len) {
      first_.push_back(static_cast<std::int64_t>(pieces_.size()));
      pieces_.push_back({begin, options_.seq_len});
    }
    if (at > begin) rests.push_back({begin, at - begin});
    begin = at;
  };
  const std::int32_t eod = tokens_.source->eod();
  for_each_block(tokens_, [&](auto block) {
    for (const std::int32_t token : block) {
      ++at;
      if (token == eod) end_document();
    }
  });
  end_document();
  return rests;
}

void BestFit::pack(std::vector<Piece> pieces) {
  std::ranges::stable_sort(pieces, std::greater{}, &Piece::length);
  std::vector<std::vector<std::int64_t>> bins;                             // pieces of each
  std::vector<std::vector<std::int64_t>> with_room(options_.seq_len + 1);  // bins by room left
  std::set<std::int64_t> rooms;  // those that some bin has
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::int64_t length = pieces[i].length;
    const auto best = rooms.lower_bound(length);
    std::int64_t room = options_.seq_len;
    auto bin = static_cast<std::int64_t>(bins.size());
    if (best == rooms.end()) {
      bins.emplace_back();
    } else {
      room = *best;
      bin = with_room[room].back();
      with_room[room].pop_back();
      if (with_room[room].empty()) rooms.erase(best);
    }
    bins[bin].push_back(static_cast<std::int64_t>(i));
    with_room[room - length].push_back(bin);
    if (room > length) rooms.insert(room - length);
  }
  for (const auto& bin : bins) {
    first_.push_back(static_cast<std::int64_t>(pieces_.size()));
    for (const std::int64_t piece : bin) pieces_.push_back(pieces[piece]);
  }
  first_.push_back(static_cast<std::int64_t>(pieces_.size()));
}

void BestFit::write_piece(const Piece& piece, std::int64_t at, Samples& out) const {
  const std::span ids(out.ids.data() + at, static_cast<std::size_t>(piece.length));
  const std::span labels(out.labels.data() + at, static_cast<std::size_t>(piece.length));
  tokens_.read(piece.begin, ids);
  std::copy(ids.begin() + 1, ids.end(), labels.begin());
  const std::int64_t end = piece.begin + piece.length;
  labels.back() = kIgnoredLabel;
  if (ids.back() != tokens_.source->eod() && end < tokens_.size) {
    tokens_.read(end, labels.last(1));  // the document goes on in another sequence
  }
}

void BestFit::write(std::int64_t i, std::int64_t row, Samples& out) const {
  const std::int64_t length = options_.seq_len, begin = row * length;
  const bool mask = options_.document_mask;
  std::int64_t at = begin;
  for (std::int64_t p = first_[i]; p < first_[i + 1]; ++p) {
    const Piece& piece = pieces_[p];
    write_piece(piece, at, out);
    const auto position = out.doc_pos.begin() + at;
    std::iota(position, position + piece.length, static_cast<std::int32_t>(mask ? 0 : at - begin));
    // One document for the model: a border is predicted as any other token is.
    if (!mask && at > begin && out.labels[at - 1] == kIgnoredLabel)
      out.labels[at - 1] = out.ids[at];
    at += piece.length;
  }
  for (; at < begin + length; ++at) {
    out.ids[at] = tokens_.source->eod();
    out.labels[at] = kIgnoredLabel;
    out.doc_pos[at] = static_cast<std::int32_t>(mask ? 0 : at - begin);
  }
}

}  // namespace strait::input
