#include "ablate/run_sweep.h"

#include <algorithm>
#include <numeric>
#include <sstream>

#include "ablate/folder_lock.h"
#include "ablate/results.h"
#include "ablate/tables.h"
#include "config/nearest.h"
#include "core/error.h"
#include "core/stop_signal.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;

/// For the children of a killed sweep, which hold its lock until they are gone.
constexpr double kLockPatience = 10;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<std::string> parts_of(const std::string& pattern) {
  std::vector<std::string> parts;
  std::istringstream text(pattern);
  for (std::string part; std::getline(text, part, '/');) parts.push_back(part);
  return parts;
}

}  // namespace

void write_report(const fs::path& folder, const std::vector<std::string>& command, core::Log& log) {
  log.info(write_results(folder));
  if (command.empty()) return;
  Command report{.arguments = command};
  report.arguments.push_back(folder.string());
  const int code = Child(report).wait();
  if (code == 0) return log.info("report in " + (folder / "report").string());
  throw core::RuntimeFault("the report of " + folder.string() + " ended with exit code " +
                           std::to_string(code) + "; the cells stay, see --report-only");
}

SweepRun::SweepRun(const Sweep& sweep, std::vector<Variant> variants, RunOptions options,
                   core::Log& log)
    : sweep_(sweep),
      options_(std::move(options)),
      log_(log),
      folder_(sweep.out),
      runner_(sweep.out, sweep.results, options_, log) {
  for (Solved& one : match(sweep, std::move(variants))) entries_.push_back({std::move(one), {}});
  check_only();
}

std::vector<Solved> SweepRun::solved() const {
  std::vector<Solved> all;
  for (const Entry& entry : entries_) all.push_back(entry.solved);
  return all;
}

void SweepRun::check_only() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.push_back(entry.solved.variant.spec.name);
  for (const Budget& budget : sweep_.budgets) names.push_back(budget.name);
  for (const std::int64_t seed : sweep_.seeds) names.push_back("seed" + std::to_string(seed));
  const std::vector<std::string_view> views(names.begin(), names.end());
  for (const std::string& pattern : options_.only) {
    for (const std::string& part : parts_of(pattern)) {
      if (std::ranges::find(names, part) != names.end()) continue;
      throw core::InputError("--only " + pattern + ": \"" + part +
                             "\" is no variant, budget or seed of " + sweep_.origin +
                             "; nearest is " + std::string(config::nearest_word(part, views)));
    }
  }
}

/// "mha", "mha/seed2", "mha/60m/seed1", "seed1": every part names what the cell belongs to. Rates
/// and tuning are needed for any seed and budget of a variant.
bool SweepRun::wanted(const Cell& cell) const {
  if (options_.only.empty()) return true;
  return std::ranges::any_of(options_.only, [&](const std::string& pattern) {
    return std::ranges::all_of(parts_of(pattern), [&](const std::string& part) {
      if (part == cell.variant) return true;
      const bool is_variant = std::ranges::any_of(
          entries_, [&](const Entry& e) { return e.solved.variant.spec.name == part; });
      if (cell.stage != Stage::main) return !is_variant;
      return part == cell.budget || part == "seed" + std::to_string(cell.seed);
    });
  });
}

std::vector<Cell> SweepRun::only_wanted(std::vector<Cell> cells) const {
  std::erase_if(cells, [&](const Cell& cell) { return !wanted(cell) || !ready(cell.variant); });
  return cells;
}

/// Whether everything is known that the variant's cells of the comparison depend on; of a variant
/// that is to be tuned yet, tuning itself is always ready.
bool SweepRun::ready(const std::string& variant) const {
  const auto entry = std::ranges::find_if(
      entries_, [&](const Entry& e) { return e.solved.variant.spec.name == variant; });
  return entry != entries_.end() && (!sweep_.tune || !entry->tuned || entry->tuned->value > 0);
}

std::vector<double> SweepRun::rates(const std::vector<Cell>& cells) const {
  std::vector<double> all;
  for (const Cell& cell : cells) {
    const CellResult* result = runner_.result(cell);
    all.push_back(result && result->done ? result->tok_s : 0);
  }
  return all;
}

/// The value of the lowest mean loss of each variant. Values whose runs failed do not count; a
/// variant whose runs have not all ended waits.
void SweepRun::choose_tuned(const std::vector<Cell>& cells) {
  if (!sweep_.tune) return;
  const Tune& tune = *sweep_.tune;
  for (Entry& entry : entries_) {
    const std::string& name = entry.solved.variant.spec.name;
    std::vector<std::vector<double>> losses(tune.values.size());
    bool complete = true;
    for (const Cell& cell : cells) {
      if (cell.variant != name) continue;
      const CellResult* result = runner_.result(cell);
      complete &= result != nullptr;
      if (result && result->done) losses[std::stoul(cell.budget)].push_back(result->val_loss);
    }
    entry.tuned = Tuned{};
    for (std::size_t i = 0; i < losses.size(); ++i) {
      if (!losses[i].empty()) entry.tuned->losses.emplace_back(tune.values[i], mean(losses[i]));
    }
    if (!complete || entry.tuned->losses.empty()) continue;
    const double best = std::ranges::min_element(entry.tuned->losses, {}, [](const auto& l) {
                          return l.second;
                        })->first;
    entry.tuned->value = best;
    if (best == tune.values.front()) entry.tuned->edge = "low";
    if (best == tune.values.back()) entry.tuned->edge = "high";
    entry.solved.variant.config = with_keys(
        entry.solved.variant.config, {{tune.path, JsonTree(best)}}, sweep_.origin + ": tune");
  }
}

void SweepRun::write_file(const std::vector<Cell>& cells) const {
  write_sweep(folder_ / "sweep.json", sweep_, entries_, cells);
}

void SweepRun::preview() {
  const std::vector<Cell> rate = rate_cells(sweep_, solved());
  const std::vector<Cell> tune = tune_cells(sweep_, solved());
  runner_.accept(rate);
  runner_.accept(tune);
  choose_tuned(tune);
  const std::vector<double> known = rates(rate);
  const bool unknown = std::ranges::find(known, 0.0) != known.end();
  std::vector<double> assumed;
  for (const Entry& entry : entries_) {
    assumed.push_back(options_.flops_per_second / entry.solved.counts.train_flops_per_token);
  }
  std::vector<Cell> all = rate;
  all.insert(all.end(), tune.begin(), tune.end());
  const std::vector<Cell> main = main_cells(sweep_, solved(), unknown ? assumed : known);
  // A variant that is not tuned yet has no cell to look for, but costs the same at any value.
  for (const Cell& cell : main) {
    if (ready(cell.variant)) runner_.accept({cell});
  }
  all.insert(all.end(), main.begin(), main.end());
  std::erase_if(all, [&](const Cell& cell) { return !wanted(cell); });
  const std::size_t count = all.size();
  std::erase_if(all, [&](const Cell& cell) { return runner_.result(cell) != nullptr; });
  log_.info(sweep_.title + "\n" + variant_table(sweep_, entries_) +
            cost_preview(all, count - all.size(), runner_.costs(), runner_.slots(), options_.jobs));
}

void SweepRun::run() {
  core::watch_stop_signals();
  const FolderLock lock(folder_, kLockPatience);
  log_.open_file((folder_ / "log.txt").string());
  const std::vector<Cell> rate = rate_cells(sweep_, solved());
  const std::vector<Cell> tune = tune_cells(sweep_, solved());
  log_.info(sweep_.title + "\n" + variant_table(sweep_, entries_));
  if (!fs::exists(folder_ / "sweep.json")) write_file({});
  runner_.run(only_wanted(rate));
  if (!runner_.stopped()) runner_.run(only_wanted(tune));
  runner_.accept(tune);
  choose_tuned(tune);
  const std::vector<double> known = rates(rate);
  if (std::ranges::find(known, 0.0) != known.end()) return finish({});
  const std::vector<Cell> main = main_cells(sweep_, solved(), known);
  write_file(main);
  if (sweep_.tune) log_.info(variant_table(sweep_, entries_));
  if (!runner_.stopped()) runner_.run(only_wanted(main));
  runner_.accept(only_wanted(main));
  finish(main);
}

void SweepRun::publish_file() const {
  if (!options_.publish || sweep_.results.empty()) return;
  fs::create_directories(sweep_.results);
  fs::copy_file(folder_ / "sweep.json", fs::path(sweep_.results) / "sweep.json",
                fs::copy_options::overwrite_existing);
}

void SweepRun::summarise(const std::vector<Cell>& cells) const {
  std::vector<Score> scores;
  for (const Entry& entry : entries_) {
    for (const Budget& budget : sweep_.budgets) {
      scores.push_back({entry.solved.variant.spec.name, budget.name, {}});
      for (const Cell& cell : cells) {
        const CellResult* result = runner_.result(cell);
        const bool own = cell.variant == scores.back().variant && cell.budget == budget.name;
        if (own && result && result->done) scores.back().losses.push_back(result->val_loss);
      }
    }
  }
  log_.info(score_table(sweep_, entries_, scores));
}

void SweepRun::finish(const std::vector<Cell>& cells) const {
  if (!cells.empty()) {
    publish_file();
    summarise(cells);
    if (!runner_.stopped()) write_report(folder_, options_.report, log_);
  }
  if (runner_.left_out() > 0) {
    log_.info(std::to_string(runner_.left_out()) + " cells are left; start again to go on");
  }
  if (runner_.failures().empty()) return;
  std::string text = std::to_string(runner_.failures().size()) + " cells failed:";
  for (const std::string& failure : runner_.failures()) text += "\n  " + failure;
  throw core::RuntimeFault(text + "\nthe others are done; see the .log beside each in " +
                           folder_.string());
}

}  // namespace strait::ablate
