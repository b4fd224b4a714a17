#pragma once

#include <cstdint>

#include "parallel/mesh.h"

namespace strait::parallel {

/// Where sequences are cut, and nothing else. S is padded to a multiple of what the ranks need.
/// Context ranks: 2 cp chunks, rank r holds chunks r and 2 cp - 1 - r (zig-zag), so that all do
/// the same causal work; with one rank a sequence is one chunk. Tensor ranks split the rows of a
/// context rank where no layer needs them together.
struct SequenceCut {
  std::int64_t length = 0;  // S, tokens of a sequence that are data
  int cp = 1, cp_rank = 0;
  int tp = 1, tp_rank = 0;
  bool ring = false;  // keys come block by block instead of all at once

  SequenceCut() = default;
  SequenceCut(std::int64_t seq_len, const Mesh& mesh, bool ring_exchange);

  int halves() const { return cp > 1 ? 2 : 1; }
  std::int64_t padded() const;
  std::int64_t chunk() const { return padded() / (halves() * cp); }
  /// Tokens of a sequence on one context rank.
  std::int64_t local() const { return chunk() * halves(); }
  bool cuts() const { return cp > 1 || tp > 1; }

  /// Index of the chunk that is half `half` of a rank, and back.
  std::int64_t chunk_of(int rank, int half) const { return half == 0 ? rank : 2 * cp - 1 - rank; }
  int owner(std::int64_t index) const;
  /// Position in the sequence of token i of a rank.
  std::int64_t position(int rank, std::int64_t i) const {
    return chunk_of(rank, static_cast<int>(i / chunk())) * chunk() + i % chunk();
  }
  /// Tokens of a rank in front of a position of the sequence: where the position is, or would be.
  std::int64_t before(int rank, std::int64_t position) const;
};

}  // namespace strait::parallel
