#include "ablate/sweep_file.h"

#include <algorithm>

#include "ablate/cell_result.h"
#include "config/load.h"
#include "core/build_info.h"
#include "core/files.h"

namespace strait::ablate {
namespace {

JsonTree numbers(const auto& values) {
  JsonTree list = JsonTree::array();
  for (const auto value : values) list.append(JsonTree(value));
  return list;
}

JsonTree budgets_of(const Sweep& sweep) {
  JsonTree list = JsonTree::array();
  for (const Budget& budget : sweep.budgets) {
    JsonTree one = JsonTree::object();
    one.set("name", budget.name)
        .set("kind", std::string(word(budget.kind)))
        .set("value", budget.value);
    list.append(one);
  }
  return list;
}

JsonTree match_of(const Sweep& sweep, const std::vector<Entry>& entries) {
  if (!sweep.match) return {};
  const Match& match = *sweep.match;
  double target = match.target;
  for (const Entry& entry : entries) {
    const bool is_target = entry.solved.variant.spec.name == match.variant;
    if (is_target) target = entry.solved.counts.of(match.quantity);
  }
  JsonTree free = JsonTree::array();
  for (const FreeKey& key : match.free) {
    free.append(JsonTree::object().set("key", key.path).set("multiple", key.multiple));
  }
  return JsonTree::object()
      .set("quantity", std::string(word(match.quantity)))
      .set("target", target)
      .set("target_variant", match.variant.empty() ? JsonTree() : JsonTree(match.variant))
      .set("tolerance", match.tolerance)
      .set("rounding", std::string(word(match.rounding)))
      .set("free", free);
}

JsonTree tune_of(const Sweep& sweep) {
  if (!sweep.tune) return {};
  return JsonTree::object()
      .set("key", sweep.tune->path)
      .set("values", numbers(sweep.tune->values))
      .set("tokens", sweep.tune->tokens)
      .set("seeds", numbers(sweep.tune->seeds));
}

JsonTree tuned_of(const std::optional<Tuned>& tuned) {
  if (!tuned || tuned->value == 0) return {};
  JsonTree losses = JsonTree::array();
  for (const auto& [value, loss] : tuned->losses) {
    losses.append(numbers(std::vector<double>{value, loss}));
  }
  return JsonTree::object()
      .set("value", tuned->value)
      .set("edge", tuned->edge.empty() ? JsonTree() : JsonTree(tuned->edge))
      .set("losses", losses);
}

JsonTree assignments_of(const std::vector<Assignment>& set) {
  JsonTree object = JsonTree::object();
  for (const Assignment& a : set) object.set(a.path, a.value);
  return object;
}

JsonTree variant_of(const Sweep& sweep, const Entry& entry, const Counts& baseline) {
  const Solved& solved = entry.solved;
  JsonTree advantage = JsonTree::object();
  for (const Quantity quantity : kQuantities) {
    advantage.set(std::string(word(quantity)),
                  solved.counts.of(quantity) / baseline.of(quantity) - 1);
  }
  return JsonTree::object()
      .set("name", solved.variant.spec.name)
      .set("label", solved.variant.spec.label)
      .set("set", assignments_of(solved.variant.spec.set))
      .set("config", config::read_tree(config::to_json(solved.variant.config), sweep.origin))
      .set("counts", to_tree(solved.counts))
      .set("solved", assignments_of(solved.solved))
      .set("deviation", sweep.match ? JsonTree(solved.deviation) : JsonTree())
      .set("advantage", advantage)
      .set("tuned", tuned_of(entry.tuned));
}

JsonTree cells_of(const std::vector<Cell>& cells) {
  JsonTree list = JsonTree::array();
  for (const Cell& cell : cells) {
    list.append(JsonTree::object()
                    .set("variant", cell.variant)
                    .set("budget", cell.budget)
                    .set("seed", cell.seed)
                    .set("path", cell.name())
                    .set("hash", cell.hash)
                    .set("steps", cell.config.train.steps));
  }
  return list;
}

}  // namespace

void write_sweep(const std::filesystem::path& path, const Sweep& sweep,
                 const std::vector<Entry>& entries, const std::vector<Cell>& cells) {
  const auto name = [](const Entry& entry) { return entry.solved.variant.spec.name; };
  const Counts& baseline = std::ranges::find(entries, sweep.baseline, name)->solved.counts;
  JsonTree variants = JsonTree::array(), sentences = JsonTree::array();
  std::vector<Solved> solved;
  for (const Entry& entry : entries) {
    variants.append(variant_of(sweep, entry, baseline));
    solved.push_back(entry.solved);
  }
  const double tolerance = sweep.match ? sweep.match->tolerance : 0;
  for (const std::string& text : not_matched(solved, sweep.baseline, tolerance)) {
    sentences.append(text);
  }
  JsonTree file = JsonTree::object();
  file.set("schema", 1)
      .set("name", sweep.name)
      .set("title", sweep.title)
      .set("config", sweep.origin)
      .set("revision", core::revision())
      .set("created", utc_time())
      .set("baseline", sweep.baseline)
      .set("seeds", numbers(sweep.seeds))
      .set("budgets", budgets_of(sweep))
      .set("reference", sweep.reference)
      .set("match", match_of(sweep, entries))
      .set("tune", tune_of(sweep))
      .set("variants", variants)
      .set("not_matched", sentences)
      .set("cells", cells_of(cells));
  core::write_file_atomically(path, [&](std::ostream& out) { out << to_text(file, 2) << "\n"; });
}

}  // namespace strait::ablate
