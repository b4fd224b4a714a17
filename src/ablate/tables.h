#pragma once

#include <string>
#include <vector>

#include "ablate/costs.h"
#include "ablate/sweep_file.h"

// What the terminal shows of a sweep.
namespace strait::ablate {

/// Variants with their counts, what was solved for and how far each is from the target; then what
/// was not matched and to whom the advantage goes.
std::string variant_table(const Sweep& sweep, const std::vector<Entry>& entries);

/// What it takes to run `cells` (those not finished): FLOPs, device hours, when it would end.
std::string cost_preview(const std::vector<Cell>& left, std::size_t finished, const Costs& costs,
                         std::size_t slots, std::int64_t jobs);

/// Mean validation loss of each variant over the seeds that are there, a column for each budget.
struct Score {
  std::string variant, budget;
  std::vector<double> losses;
};
std::string score_table(const Sweep& sweep, const std::vector<Entry>& entries,
                        const std::vector<Score>& scores);

}  // namespace strait::ablate
