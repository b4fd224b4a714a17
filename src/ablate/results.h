#pragma once

#include <filesystem>
#include <string>

#include "ablate/analysis.h"

namespace strait::ablate {

/// The whole of results.json: sweep, noise, order, comparisons and verdicts of every budget.
config::JsonTree to_tree(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses);

/// One row a cell, and one a comparison, with a header. Text is quoted where it has to be.
std::string cells_csv(const Collected& sweep);
std::string comparisons_csv(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses);

/// Judges what a sweep's folder holds and writes report/results.json, report/cells.csv and
/// report/comparisons.csv into it, each whole or not at all. Returns the verdicts as text. Throws
/// InputError when the folder holds no sweep.
std::string write_results(const std::filesystem::path& folder);

}  // namespace strait::ablate
