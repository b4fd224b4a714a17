#include "ablate/match.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "config/nearest.h"
#include "config/reject.h"
#include "config/schema.h"
#include "core/error.h"

namespace strait::ablate {
namespace {

using Values = std::vector<std::int64_t>;  // of the free keys, in their order

constexpr std::int64_t kLargest = 1 << 24;  // of a size, as the schema has it
constexpr std::int64_t kReach = 16;         // multiples that a further key may move, either way
constexpr std::int64_t kTries = 64;         // multiples looked at around one that is not valid

std::string format(const char* pattern, double a, double b) {
  char text[96];
  std::snprintf(text, sizeof text, pattern, a, b);
  return text;
}

/// What the solver asks of one variant.
class Problem {
 public:
  Problem(const Variant& variant, const Match& match, const std::string& origin)
      : variant_(variant), match_(match), origin_(origin) {
    for (const FreeKey& free : match.free) {
      static_cast<void>(value_at(variant.config, free.path, origin + ": match.free"));
      const config::Key& key = config::key_at(free.path);
      if (key.type != config::Type::integer) {
        config::reject(origin, "match.free", config::show(free.path),
                       "expected an integer key, such as model.ffn.d_ff");
      }
      keys_.push_back(&key);
    }
  }

  std::size_t keys() const { return keys_.size(); }
  std::int64_t multiple(std::size_t key) const { return match_.free[key].multiple; }
  std::int64_t own(std::size_t key) const {
    return std::get<std::int64_t>(keys_[key]->get(variant_.config));
  }

  /// The quantity, whether or not the config is valid.
  double quantity(const Values& values) const {
    config::Config config = variant_.config;
    for (std::size_t i = 0; i < keys_.size(); ++i) keys_[i]->set(config, values[i]);
    return count(config).of(match_.quantity);
  }

  std::vector<Assignment> assignments(const Values& values) const {
    std::vector<Assignment> set;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (values[i] != own(i)) set.push_back({match_.free[i].path, JsonTree(values[i])});
    }
    return set;
  }

  bool valid(const Values& values) const {
    try {
      static_cast<void>(with_keys(variant_.config, assignments(values), origin_));
      return true;
    } catch (const core::InputError&) {
      return false;
    }
  }

 private:
  const Variant& variant_;
  const Match& match_;
  const std::string& origin_;
  std::vector<const config::Key*> keys_;
};

struct Candidate {
  Values values;
  double deviation = 0;
};

/// Smallest multiple of the first key at which the quantity reaches the target, the others as in
/// `values`; one beyond the largest size if none does.
std::int64_t reach_target(const Problem& problem, Values values, double target) {
  const auto below = [&](std::int64_t k) {
    values[0] = k * problem.multiple(0);
    return problem.quantity(values) < target;
  };
  const std::int64_t last = kLargest / problem.multiple(0);
  std::int64_t low = 0,
               high = std::clamp<std::int64_t>(problem.own(0) / problem.multiple(0), 1, last);
  while (high < last && below(high)) {
    low = high;
    high = std::min(2 * high, last);
  }
  if (below(high)) return last + 1;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (below(middle) ? low : high) = middle;
  }
  return high;
}

/// The valid value of the first key next to the target, on the side that `rounding` wants.
std::optional<Candidate> solve_first(const Problem& problem, Values values, double target,
                                     Rounding rounding) {
  const std::int64_t above = reach_target(problem, values, target);
  std::optional<Candidate> best;
  const auto look = [&](std::int64_t k) {
    if (k < 1 || k > kLargest / problem.multiple(0)) return false;
    values[0] = k * problem.multiple(0);
    const double deviation = problem.quantity(values) / target - 1;
    const bool wrong_side = (rounding == Rounding::below && deviation > 0) ||
                            (rounding == Rounding::above && deviation < 0);
    if (wrong_side || !problem.valid(values)) return false;
    if (!best || std::abs(deviation) < std::abs(best->deviation)) best = {values, deviation};
    return true;
  };
  for (std::int64_t k = above; k < above + kTries && !look(k); ++k) {
  }
  for (std::int64_t k = above - 1; k > above - kTries && !look(k); --k) {
  }
  return best;
}

/// Values of the keys after the first, by their distance from the variant's own: all combinations
/// within kReach multiples, the nearest first.
std::vector<Values> further_values(const Problem& problem) {
  struct Entry {
    std::int64_t distance;
    Values values;
  };
  std::vector<Entry> all = {{0, {problem.own(0)}}};
  for (std::size_t key = 1; key < problem.keys(); ++key) {
    std::vector<Entry> next;
    for (const Entry& entry : all) {
      for (std::int64_t k = -kReach; k <= kReach; ++k) {
        const std::int64_t value = problem.own(key) + k * problem.multiple(key);
        if (value < 1) continue;
        Entry one = {entry.distance + std::abs(k), entry.values};
        one.values.push_back(value);
        next.push_back(std::move(one));
      }
    }
    all = std::move(next);
  }
  std::ranges::stable_sort(all, {}, &Entry::distance);
  std::vector<Values> values;
  for (Entry& entry : all) values.push_back(std::move(entry.values));
  return values;
}

void require_effect(const Problem& problem, const Match& match, const std::string& origin) {
  Values values = further_values(problem).front();
  values[0] = problem.multiple(0);
  const double low = problem.quantity(values);
  values[0] *= 1024;
  if (problem.quantity(values) > low) return;
  config::reject(origin, "match.free", config::show(match.free[0].path),
                 "does not raise " + std::string(word(match.quantity)) +
                     "; expected a key that does first, such as model.ffn.d_ff of a dense model or "
                     "model.ffn.moe.d_expert of a mixture");
}

[[noreturn]] void refuse(const Problem& problem, const Match& match, double target,
                         const std::optional<Candidate>& best, const std::string& origin) {
  const std::string aim = std::string(word(match.quantity)) +
                          format(" %.0f within %g %%", target, 100 * match.tolerance);
  if (!best) config::reject(origin, "match: no valid value of the free keys comes near " + aim);
  std::string at;
  for (std::size_t i = 0; i < problem.keys(); ++i) {
    at += (at.empty() ? "" : ", ") + match.free[i].path + " = " + std::to_string(best->values[i]);
  }
  config::reject(
      origin, "match: cannot reach " + aim + "; the best is " +
                  format("%.0f, %+.3g %%", problem.quantity(best->values), 100 * best->deviation) +
                  ", at " + at +
                  "; lower match.multiple, free another key, or raise match.tolerance");
}

/// "mha, gqa": those with this much of a quantity.
std::string names_with(const std::vector<Solved>& variants, Quantity quantity, double value) {
  std::string names;
  for (const Solved& solved : variants) {
    if (solved.counts.of(quantity) != value) continue;
    names += (names.empty() ? "" : ", ") + solved.variant.spec.name;
  }
  return names;
}

/// 4096, 2.296e+08.
std::string amount(double value) {
  return value < 1e6 ? format("%.0f", value, 0) : format("%.4g", value, 0);
}

}  // namespace

Solved solve(const Variant& variant, const Match& match, double target, const std::string& origin) {
  const Problem problem(variant, match, origin);
  require_effect(problem, match, origin);
  std::optional<Candidate> best;
  for (const Values& values : further_values(problem)) {
    const auto found = solve_first(problem, values, target, match.rounding);
    if (!found) continue;
    if (!best || std::abs(found->deviation) < std::abs(best->deviation)) best = found;
    if (std::abs(found->deviation) <= match.tolerance) break;
  }
  if (!best || std::abs(best->deviation) > match.tolerance) {
    refuse(problem, match, target, best, origin);
  }
  Solved solved{.variant = variant, .solved = problem.assignments(best->values), .counts = {}};
  solved.variant.config = with_keys(variant.config, solved.solved, origin);
  solved.counts = count(solved.variant.config);
  solved.deviation = solved.counts.of(match.quantity) / target - 1;
  return solved;
}

std::vector<Solved> match(const Sweep& sweep, std::vector<Variant> variants) {
  double target = 0;
  if (sweep.match) {
    target = sweep.match->target;
    for (const Variant& variant : variants) {
      if (variant.spec.name != sweep.match->variant) continue;
      target = count(variant.config).of(sweep.match->quantity);
    }
  }
  std::vector<Solved> all;
  for (Variant& variant : variants) {
    const bool is_target = sweep.match && variant.spec.name == sweep.match->variant;
    if (sweep.match && variant.spec.matched && !is_target) {
      all.push_back(
          solve(variant, *sweep.match, target, sweep.origin + ": variants." + variant.spec.name));
      continue;
    }
    const Counts counts = count(variant.config);
    const double deviation = sweep.match ? counts.of(sweep.match->quantity) / target - 1 : 0;
    all.push_back({std::move(variant), {}, counts, deviation});
  }
  return all;
}

std::vector<std::string> not_matched(const std::vector<Solved>& variants,
                                     const std::string& baseline, double tolerance) {
  std::vector<std::string> sentences;
  const auto base =
      std::ranges::find(variants, baseline, [](const Solved& s) { return s.variant.spec.name; });
  for (const Quantity quantity : kQuantities) {
    const auto of = [&](const Solved& solved) { return solved.counts.of(quantity); };
    const auto [least, most] = std::ranges::minmax_element(variants, {}, of);
    const double own = of(*base), low = of(*least) / own - 1, high = of(*most) / own - 1;
    if (high - low <= tolerance) continue;
    const std::string from = names_with(variants, quantity, of(*least));
    const std::string to = names_with(variants, quantity, of(*most));
    sentences.push_back(std::string(word(quantity)) + ": " + amount(of(*least)) + " (" + from +
                        format(", %+.1f %% of ", 100 * low, 0) + baseline + ") to " +
                        amount(of(*most)) + " (" + to + format(", %+.1f %%", 100 * high, 0) +
                        "); advantage " + to);
  }
  return sentences;
}

}  // namespace strait::ablate
