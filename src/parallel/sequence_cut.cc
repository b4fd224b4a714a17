#include "parallel/sequence_cut.h"

#include <algorithm>

namespace strait::parallel {

SequenceCut::SequenceCut(std::int64_t seq_len, const Mesh& mesh, bool ring_exchange)
    : length(seq_len),
      cp(mesh.cp),
      cp_rank(mesh.cp_rank),
      tp(mesh.tp),
      tp_rank(mesh.tp_rank),
      ring(ring_exchange && mesh.cp > 1) {}

std::int64_t SequenceCut::padded() const {
  const std::int64_t unit = static_cast<std::int64_t>(tp) * (cp > 1 ? 2 * cp : 1);
  return (length + unit - 1) / unit * unit;
}

int SequenceCut::owner(std::int64_t index) const {
  return static_cast<int>(index < cp ? index : 2 * cp - 1 - index);
}

std::int64_t SequenceCut::before(int rank, std::int64_t position) const {
  std::int64_t count = 0;
  for (int half = 0; half < halves(); ++half) {
    count += std::clamp<std::int64_t>(position - chunk_of(rank, half) * chunk(), 0, chunk());
  }
  return count;
}

}  // namespace strait::parallel
