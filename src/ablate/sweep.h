#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/json_tree.h"
#include "config/words.h"

// A sweep as its file says it: a base config, variants of it, seeds and budgets, what to hold equal
// and what to tune. Plain values; read_sweep.h fills them, expand.h makes configs of them.
namespace strait::ablate {

using config::JsonTree;

/// What variants may be matched in. FLOPs as in model/counts.h, for documents of a whole sequence;
/// cached bytes in the format of precision.compute.
enum class Quantity {
  total_parameters,
  active_parameters,
  non_embedding_parameters,
  train_flops_per_token,
  kv_bytes_per_token
};
enum class BudgetKind { tokens, flops, seconds };
/// On which side of the target a solved variant may lie.
enum class Rounding { nearest, below, above };

}  // namespace strait::ablate

namespace strait::config {

template <>
struct Words<ablate::Quantity> {
  static constexpr std::array<std::string_view, 5> kList{
      "total_parameters", "active_parameters", "non_embedding_parameters", "train_flops_per_token",
      "kv_bytes_per_token"};
};
template <>
struct Words<ablate::BudgetKind> {
  static constexpr std::array<std::string_view, 3> kList{"tokens", "flops", "seconds"};
};
template <>
struct Words<ablate::Rounding> {
  static constexpr std::array<std::string_view, 3> kList{"nearest", "below", "above"};
};

}  // namespace strait::config

namespace strait::ablate {

/// A config key by its dotted path, with the value it takes.
struct Assignment {
  std::string path;
  JsonTree value;
};

struct VariantSpec {
  std::string name;   // [a-z0-9_.-]+, also the name of its folder
  std::string label;  // in tables and plots
  std::vector<Assignment> set;
  bool matched = true;  // false: left as it is by `match`
};

/// Every combination of the values becomes a variant of each of `variants` (of all, when empty).
struct Grid {
  struct Axis {
    std::string path;
    std::vector<JsonTree> values;
  };
  std::vector<std::string> variants;
  std::vector<Axis> axes;
};

/// How long each cell trains. Seconds are of training steps, by the rate measured for each variant.
struct Budget {
  std::string name;
  BudgetKind kind = BudgetKind::tokens;
  double value = 0;
};

struct FreeKey {
  std::string path;           // an integer key
  std::int64_t multiple = 1;  // it takes multiples of this alone
};

struct Match {
  Quantity quantity = Quantity::total_parameters;
  std::string variant = {};  // the target is what this one has; empty: `target`
  double target = 0;
  double tolerance = 0.01;  // of the target
  Rounding rounding = Rounding::nearest;
  std::vector<FreeKey> free;  // the first is solved for; the others move only if that fails
};

/// Short runs of every variant at every value; the one of the lowest loss is used from then on.
struct Tune {
  std::string path = "optim.lr";
  std::vector<double> values;  // ascending
  double tokens = 0;           // of each short run
  std::vector<std::int64_t> seeds;
};

struct Sweep {
  std::string name;
  std::string title;
  std::string origin;  // its file
  JsonTree base;       // the name of a config, or one in place
  std::vector<VariantSpec> variants;
  std::vector<Grid> grids;
  std::string baseline;  // the variant that the others are compared with
  std::vector<std::int64_t> seeds;
  std::vector<Budget> budgets;  // ascending
  std::optional<Match> match = {};
  std::optional<Tune> tune = {};
  JsonTree reference = {};   // what is known from elsewhere, for the report; null: nothing
  std::string out = {};      // folder of the sweep
  std::string results = {};  // folder of finished cells that are taken as they are; empty: none
};

using config::word;

inline constexpr Quantity kQuantities[] = {
    Quantity::total_parameters, Quantity::active_parameters, Quantity::non_embedding_parameters,
    Quantity::train_flops_per_token, Quantity::kv_bytes_per_token};

}  // namespace strait::ablate
