#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "parallel/host_signs.h"

namespace strait::parallel {

/// A rank as another one sees it.
struct RankView {
  Sign sign;
  std::chrono::duration<double> silent{0};  // since its last beat
  bool here = false;                        // on the same host
  bool ended = false;                       // its process is gone
};

/// The ranks that the others wait for, and what is wrong with them.
struct MissingRanks {
  std::vector<int> ranks;  // none: one of another host, of which nothing is heard
  std::string why;         // follows their names: "ended", "gives no sign of life"
};

/// Why the run cannot go on, as rank `own` sees it; nothing while it can. `waited`: how long `own`
/// has been in its collective, 0 outside. A rank is missing that has ended, or that gives no sign
/// of life for `limit`. Once `own` has waited for `limit`, one must be missing: one that is silent
/// for most of that time (it may have halted a moment before `own` began to wait, and its last sign
/// come a moment after), else those that are in no collective, else those of the earliest.
std::optional<MissingRanks> find_missing(const std::vector<RankView>& ranks, int own,
                                         std::chrono::duration<double> waited,
                                         std::chrono::duration<double> limit);

}  // namespace strait::parallel
