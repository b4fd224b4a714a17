#pragma once

#include <map>
#include <string>
#include <vector>

#include "ablate/cell.h"
#include "ablate/cell_result.h"

namespace strait::ablate {

/// Expected seconds of cells: by the slowest of the longest measured cells of the same variant, of
/// any variant, or by an assumed rate, in proportion to FLOPs.
class Costs {
 public:
  /// Training FLOPs per second of one cell while `jobs` share its device.
  Costs(double assumed, std::int64_t jobs) : assumed_(assumed / static_cast<double>(jobs)) {}

  /// Remembers what a finished cell took. Of a short one much is start-up: it no longer counts
  /// once one with twice its FLOPs is known.
  void add(const Cell& cell, const CellResult& result);
  double seconds(const Cell& cell) const;
  bool measured() const { return !variants_.empty(); }

 private:
  struct Measured {
    double flops = 0;     // of the longest cell
    double per_flop = 0;  // seconds, the slowest of those that count
  };

  double assumed_;
  std::map<std::string, Measured> variants_;
};

/// Seconds until all of `cells` ended, each begun in order by the first of `slots` that is free.
double makespan(const std::vector<double>& seconds, std::size_t slots);

}  // namespace strait::ablate
