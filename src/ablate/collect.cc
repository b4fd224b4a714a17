#include "ablate/collect.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "ablate/json_lines.h"
#include "core/error.h"
#include "core/files.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;
using config::JsonTree;
using Kind = JsonTree::Kind;

const JsonTree& member(const JsonTree& tree, std::string_view name, Kind kind,
                       const std::string& origin) {
  const JsonTree* found = tree.find(name);
  if (!found || !found->is(kind)) {
    throw core::InputError(origin + ": " + std::string(name) + " is " +
                           (found ? found->kind_name() : "missing") +
                           "; expected a file as ./ablate writes it: run the sweep again, what is "
                           "finished is kept");
  }
  return *found;
}

std::optional<std::size_t> place(const std::vector<std::string>& names, const std::string& name) {
  const auto at = std::ranges::find(names, name);
  if (at == names.end()) return std::nullopt;
  return static_cast<std::size_t>(at - names.begin());
}

/// Validation losses by tokens. The tokens of a step are its share of all, as batches are equal.
std::vector<std::pair<double, double>> read_curve(const fs::path& path, const JsonTree& cell,
                                                  const std::string& origin) {
  std::vector<std::pair<double, double>> curve;
  const double tokens = member(cell, "tokens", Kind::number, origin).number();
  const double steps = member(cell, "steps", Kind::number, origin).number();
  if (steps <= 0) return curve;
  for (const JsonTree& event : read_lines(path)) {
    const JsonTree *name = event.find("event"), *loss = event.find("val_loss");
    const JsonTree* step = event.find("step");
    if (!name || name->text() != "eval" || !loss || !loss->is(Kind::number) || !step) continue;
    const double at = step->number() * tokens / steps;
    // A run that went on from before an evaluation repeats it.
    while (!curve.empty() && curve.back().first >= at) curve.pop_back();
    curve.emplace_back(at, loss->number());
  }
  return curve;
}

Outcome read_outcome(const fs::path& folder, const JsonTree& wanted, const std::string& origin) {
  Outcome cell{
      .variant = member(wanted, "variant", Kind::text, origin).text(),
      .budget = member(wanted, "budget", Kind::text, origin).text(),
      .seed = static_cast<std::int64_t>(member(wanted, "seed", Kind::number, origin).number()),
      .path = member(wanted, "path", Kind::text, origin).text(),
      .status = "missing",
      .file = {}};
  const fs::path file = folder / cell.path / "cell.json";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return cell;
  cell.file = config::read_tree(core::read_file(file), file.string());
  cell.status = member(cell.file, "status", Kind::text, file.string()).text();
  if (cell.status != "done") return cell;
  member(cell.file, "val_loss", Kind::number, file.string());
  cell.curve = read_curve(folder / cell.path / "metrics.jsonl", cell.file, file.string());
  return cell;
}

std::vector<std::vector<std::size_t>> read_order(const Collected& sweep) {
  std::vector<std::vector<std::size_t>> order;
  const JsonTree* reference = sweep.sweep.find("reference");
  const JsonTree* groups = reference ? reference->find("order") : nullptr;
  if (!groups) return order;
  for (const JsonTree& group : groups->items()) {
    std::vector<std::size_t> members;
    for (const JsonTree& name : group.items()) {
      if (const auto at = place(sweep.variants, name.text())) members.push_back(*at);
    }
    if (!members.empty()) order.push_back(members);
  }
  return order;
}

}  // namespace

Collected collect(const fs::path& folder) {
  const std::string origin = (folder / "sweep.json").string();
  std::error_code unseen;
  if (!fs::exists(origin, unseen)) {
    throw core::InputError(folder.string() +
                           ": holds no sweep (no sweep.json); name the folder of one, such as "
                           "ablations/<name>_<size>");
  }
  Collected found;
  found.sweep = config::read_tree(core::read_file(origin), origin);
  for (const JsonTree& variant : member(found.sweep, "variants", Kind::array, origin).items()) {
    found.variants.push_back(member(variant, "name", Kind::text, origin).text());
    found.labels.push_back(member(variant, "label", Kind::text, origin).text());
  }
  for (const JsonTree& seed : member(found.sweep, "seeds", Kind::array, origin).items()) {
    found.seeds.push_back(static_cast<std::int64_t>(seed.number()));
  }
  for (const JsonTree& budget : member(found.sweep, "budgets", Kind::array, origin).items()) {
    found.budgets.push_back(member(budget, "name", Kind::text, origin).text());
  }
  const std::string& baseline = member(found.sweep, "baseline", Kind::text, origin).text();
  const auto at = place(found.variants, baseline);
  if (!at) {
    throw core::InputError(origin + ": baseline = \"" + baseline + "\" is none of its variants");
  }
  found.baseline = *at;
  found.reference = read_order(found);
  for (const JsonTree& cell : member(found.sweep, "cells", Kind::array, origin).items()) {
    found.cells.push_back(read_outcome(folder, cell, origin));
  }
  return found;
}

}  // namespace strait::ablate
