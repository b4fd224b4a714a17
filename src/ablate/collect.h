#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "config/json_tree.h"

namespace strait::ablate {

/// A cell that the sweep wants, and what became of it.
struct Outcome {
  std::string variant, budget;
  std::int64_t seed = 0;
  std::string path;                                   // below the sweep's folder
  std::string status;                                 // "done", "failed" or "missing"
  config::JsonTree file;                              // its cell.json; null when missing
  std::vector<std::pair<double, double>> curve = {};  // tokens and validation loss, ascending
};

/// What a sweep's folder holds: sweep.json and the cell.json and evaluations of every cell.
struct Collected {
  config::JsonTree sweep;
  std::vector<std::string> variants, labels;  // in the order of the sweep
  std::vector<std::int64_t> seeds;
  std::vector<std::string> budgets;                 // ascending
  std::size_t baseline = 0;                         // its place in variants
  std::vector<std::vector<std::size_t>> reference;  // the order that was expected, best first, ties
                                                    // together; variants not in the sweep left out
  std::vector<Outcome> cells;
};

/// Throws InputError when sweep.json or a cell.json is missing a member or cannot be read.
Collected collect(const std::filesystem::path& folder);

}  // namespace strait::ablate
