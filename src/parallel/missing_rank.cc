#include "parallel/missing_rank.h"

#include <algorithm>
#include <cstdint>
#include <functional>

namespace strait::parallel {
namespace {

using Test = std::function<bool(const RankView&)>;

/// Ranks other than `own` that pass; of other hosts nothing may have been heard: not every network
/// lets datagrams through.
std::vector<int> select(const std::vector<RankView>& ranks, int own, const Test& passes) {
  std::vector<int> found;
  for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank) {
    const RankView& view = ranks[rank];
    if (rank == own || view.sign.finished || (!view.here && view.sign.beat == 0)) continue;
    if (passes(view)) found.push_back(rank);
  }
  return found;
}

/// The earliest collective that a rank is in, as far as is known.
std::int64_t earliest(const std::vector<RankView>& ranks, int own) {
  std::int64_t call = ranks[own].sign.call;
  for (const int rank : select(ranks, own, [](const RankView&) { return true; })) {
    call = std::min(call, ranks[rank].sign.call);
  }
  return call;
}

}  // namespace

std::optional<MissingRanks> find_missing(const std::vector<RankView>& ranks, int own,
                                         std::chrono::duration<double> waited,
                                         std::chrono::duration<double> limit) {
  const std::vector<int> ended = select(ranks, own, [](const RankView& r) { return r.ended; });
  if (!ended.empty()) return MissingRanks{ended, "ended"};
  const bool waits = waited.count() > 0, overdue = waited > limit;
  const auto patience = overdue ? limit / 2 : limit;
  const std::vector<int> silent = select(
      ranks, own, [&](const RankView& r) { return r.silent > patience && (r.here || waits); });
  if (!silent.empty()) return MissingRanks{silent, "gives no sign of life"};
  if (!overdue) return std::nullopt;
  std::vector<int> behind = select(ranks, own, [](const RankView& r) { return !r.sign.waiting; });
  if (const std::int64_t call = earliest(ranks, own);
      behind.empty() && call < ranks[own].sign.call) {
    behind = select(ranks, own, [&](const RankView& r) { return r.sign.call == call; });
  }
  return MissingRanks{behind, "does not come to where others wait"};
}

}  // namespace strait::parallel
