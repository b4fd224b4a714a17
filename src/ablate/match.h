#pragma once

#include <string>
#include <vector>

#include "ablate/expand.h"
#include "ablate/quantities.h"

namespace strait::ablate {

/// A variant after matching.
struct Solved {
  Variant variant;                 // config with what was solved for
  std::vector<Assignment> solved;  // values of the free keys that moved; empty: none
  Counts counts;
  double deviation = 0;  // (own - target) / target; 0 without match
};

/// Every variant with its free keys solved so that it meets the target; without `match`, or where
/// the variant is exempt or the target itself, as it is. Throws InputError when a variant's best
/// lies outside the tolerance: the best achievable, its deviation, what to change.
std::vector<Solved> match(const Sweep& sweep, std::vector<Variant> variants);

/// One variant on a target. The first free key is solved by bisection, for the other keys' own
/// values first, then for others in order of their distance, in steps of each key's `multiple`.
Solved solve(const Variant& variant, const Match& match, double target, const std::string& origin);

/// A sentence for every quantity that differs between variants by more than `tolerance`: the range,
/// and to whom the advantage goes (who has more).
std::vector<std::string> not_matched(const std::vector<Solved>& variants,
                                     const std::string& baseline, double tolerance);

}  // namespace strait::ablate
