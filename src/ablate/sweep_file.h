#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ablate/cell.h"

namespace strait::ablate {

/// What tuning found for a variant.
struct Tuned {
  double value = 0;  // 0: not known yet
  std::string edge;  // "low" or "high" when the best is the first or the last value; else empty
  std::vector<std::pair<double, double>> losses;  // value and mean loss of its seeds
};

/// A variant on its way through the sweep.
struct Entry {
  Solved solved;
  std::optional<Tuned> tuned;
};

/// sweep.json: the resolved sweep, for the report and for whoever wants to know what was compared.
void write_sweep(const std::filesystem::path& path, const Sweep& sweep,
                 const std::vector<Entry>& entries, const std::vector<Cell>& cells);

}  // namespace strait::ablate
