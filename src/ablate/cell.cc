#include "ablate/cell.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <string_view>

#include "config/parse.h"
#include "config/schema.h"
#include "core/hash.h"

namespace strait::ablate {
namespace {

constexpr std::int64_t kRateSteps = 40;

/// Keys, or sections, that say where and how a run goes and how often it is looked at, not what
/// comes out at its end.
constexpr std::string_view kApart[] = {"run.dir",          "run.name",          "run.device",
                                       "checkpoint",       "parallel",          "train.micro_batch",
                                       "train.recompute",  "train.log_every",   "eval.every",
                                       "eval.probe_every", "eval.sample_tokens"};

bool apart(const std::string& path) {
  return std::ranges::any_of(kApart, [&](std::string_view part) {
    return path == part || (path.starts_with(part) && path[part.size()] == '.');
  });
}

double tokens_per_step(const config::Config& config) {
  return static_cast<double>(config.train.batch_size * config.data.seq_len);
}

std::int64_t steps_of(const Budget& budget, const Solved& variant, double rate) {
  double tokens = budget.value;
  if (budget.kind == BudgetKind::flops) tokens /= variant.counts.train_flops_per_token;
  if (budget.kind == BudgetKind::seconds) tokens *= rate;
  const double steps = tokens / tokens_per_step(variant.variant.config);
  // A budget in tokens is reached; the others are not exceeded by more than half a step.
  const double whole = budget.kind == BudgetKind::tokens ? std::ceil(steps) : std::round(steps);
  return std::max<std::int64_t>(static_cast<std::int64_t>(whole), 1);
}

Cell make_cell(Stage stage, const Solved& variant, const std::string& budget, std::int64_t seed,
               std::int64_t steps) {
  const std::string& name = variant.variant.spec.name;
  constexpr const char* kFolders[] = {"rate", "tune", "cells"};
  Cell cell{.stage = stage,
            .variant = name,
            .budget = budget,
            .seed = seed,
            .path = std::filesystem::path(kFolders[static_cast<int>(stage)]) / name / budget /
                    ("seed" + std::to_string(seed)),
            .config = variant.variant.config,
            .hash = {}};
  cell.config.run.dir.clear();
  cell.config.run.name =
      name + (budget.empty() ? "" : "-" + budget) + "-seed" + std::to_string(seed);
  cell.config.run.seed = seed;
  cell.config.train.steps = steps;
  cell.config.optim.warmup_steps = stage == Stage::main
                                       ? cell.config.optim.warmup_steps
                                       : std::min(cell.config.optim.warmup_steps, (steps + 9) / 10);
  if (stage != Stage::main) {
    cell.config.checkpoint = {.every = -1};
    cell.config.eval.every = 0;
    cell.config.eval.sample_tokens = 0;
  }
  cell.hash = core::hash_text(core::hash_of(identity(cell.config)));
  cell.train_flops = cell.tokens() * variant.counts.train_flops_per_token;
  return cell;
}

}  // namespace

double Cell::tokens() const {
  return static_cast<double>(config.train.steps) * tokens_per_step(config);
}

std::string identity(const config::Config& config) {
  std::string lines;
  for (const config::Key& key : config::schema()) {
    const config::Value value = key.get(config);
    if (apart(key.path) || value == config::default_of(key)) continue;
    const JsonTree tree = std::visit([](const auto& plain) { return JsonTree(plain); }, value);
    lines += key.path + "=" + to_text(tree) + "\n";
  }
  return lines;
}

std::string difference(const std::string& before, const std::string& now) {
  std::set<std::string> old_lines;
  std::istringstream old_text(before), new_text(now);
  for (std::string line; std::getline(old_text, line);) old_lines.insert(line);
  std::string added, gone;
  for (std::string line; std::getline(new_text, line);) {
    if (old_lines.erase(line) == 0) added += (added.empty() ? "" : ", ") + line;
  }
  for (const std::string& line : old_lines) gone += (gone.empty() ? "" : ", ") + line;
  return "now " + (added.empty() ? "defaults" : added) + "; then " +
         (gone.empty() ? "defaults" : gone);
}

std::vector<Cell> rate_cells(const Sweep& sweep, const std::vector<Solved>& variants) {
  std::vector<Cell> cells;
  if (sweep.budgets.front().kind != BudgetKind::seconds) return cells;
  for (const Solved& variant : variants) {
    cells.push_back(make_cell(Stage::rate, variant, "", sweep.seeds.front(), kRateSteps));
  }
  return cells;
}

std::vector<Cell> tune_cells(const Sweep& sweep, const std::vector<Solved>& variants) {
  std::vector<Cell> cells;
  if (!sweep.tune) return cells;
  const Tune& tune = *sweep.tune;
  for (const std::int64_t seed : tune.seeds) {
    for (std::size_t i = 0; i < tune.values.size(); ++i) {
      for (const Solved& variant : variants) {
        Solved at = variant;
        const Assignment set{tune.path, JsonTree(tune.values[i])};
        at.variant.config = with_keys(variant.variant.config, {set}, sweep.origin + ": tune");
        const Budget budget{.name = std::to_string(i), .value = tune.tokens};
        cells.push_back(
            make_cell(Stage::tune, at, budget.name, seed, steps_of(budget, variant, 0)));
      }
    }
  }
  return cells;
}

std::vector<Cell> main_cells(const Sweep& sweep, const std::vector<Solved>& variants,
                             const std::vector<double>& rates) {
  std::vector<Cell> cells;
  for (const Budget& budget : sweep.budgets) {
    for (const std::int64_t seed : sweep.seeds) {
      for (std::size_t i = 0; i < variants.size(); ++i) {
        const std::int64_t steps = steps_of(budget, variants[i], rates.empty() ? 0 : rates[i]);
        cells.push_back(make_cell(Stage::main, variants[i], budget.name, seed, steps));
      }
    }
  }
  return cells;
}

}  // namespace strait::ablate
