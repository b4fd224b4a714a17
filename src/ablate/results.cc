#include "ablate/results.h"

#include <cmath>

#include "core/files.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;
using config::JsonTree;

JsonTree number_or_null(double value) {
  return std::isfinite(value) ? JsonTree(value) : JsonTree();
}

template <typename T>
JsonTree value_or_null(const std::optional<T>& value) {
  return value ? JsonTree(*value) : JsonTree();
}

JsonTree judgement_tree(const Judgement& j, double smallest, std::optional<int> seeds) {
  return JsonTree::object()
      .set("dof", j.dof)
      .set("sd", number_or_null(j.sd))
      .set("low", number_or_null(j.low))
      .set("high", number_or_null(j.high))
      .set("p", number_or_null(j.p))
      .set("p_holm", number_or_null(j.p_holm))
      .set("resolved", j.resolved)
      .set("smallest_resolved", number_or_null(smallest))
      .set("seeds_needed", value_or_null(seeds));
}

JsonTree verdict_tree(const Verdict& v, const Collected& sweep) {
  JsonTree seeds = JsonTree::array(), differences = JsonTree::array();
  for (const std::int64_t seed : v.seeds) seeds.append(seed);
  for (const double difference : v.comparison.differences) differences.append(difference);
  return JsonTree::object()
      .set("a", sweep.variants[v.comparison.a])
      .set("b", sweep.variants[v.comparison.b])
      .set("seeds", seeds)
      .set("differences", differences)
      .set("mean", number_or_null(v.comparison.mean))
      .set("paired", judgement_tree(v.comparison.paired, v.smallest, v.seeds_needed))
      .set("pooled", judgement_tree(v.comparison.pooled, v.smallest_pooled, v.seeds_needed_pooled))
      .set("tokens_needed", value_or_null(v.tokens_needed))
      .set("verdict", sentence(v, sweep));
}

JsonTree family_tree(const std::vector<Verdict>& family, const Collected& sweep) {
  JsonTree list = JsonTree::array();
  for (const Verdict& v : family) list.append(verdict_tree(v, sweep));
  return list;
}

JsonTree claims_tree(const BudgetAnalysis& analysis, const Collected& sweep) {
  JsonTree list = JsonTree::array();
  for (std::size_t i = 0; i < analysis.claims.size(); ++i) {
    const Claim& claim = analysis.claims[i];
    const Verdict& v = analysis.claimed[i];
    JsonTree one = verdict_tree(v, sweep);
    one.set("claim", sweep.labels[claim.a] + (claim.equal ? " = " : " < ") + sweep.labels[claim.b])
        .set("outcome", outcome(claim, v.comparison.mean, v.comparison.paired))
        .set("outcome_pooled", outcome(claim, v.comparison.mean, v.comparison.pooled));
    list.append(one);
  }
  return list;
}

JsonTree variants_tree(const BudgetAnalysis& analysis, const Collected& sweep) {
  JsonTree list = JsonTree::array();
  for (std::size_t v = 0; v < sweep.variants.size(); ++v) {
    JsonTree losses = JsonTree::array();
    for (const double loss : analysis.losses[v]) losses.append(number_or_null(loss));
    list.append(JsonTree::object()
                    .set("name", sweep.variants[v])
                    .set("label", sweep.labels[v])
                    .set("loss", number_or_null(analysis.fit.variant[v]))
                    .set("losses", losses));
  }
  return list;
}

JsonTree budget_tree(const BudgetAnalysis& analysis, const Collected& sweep) {
  JsonTree order = JsonTree::array();
  for (const std::size_t v : analysis.order) order.append(sweep.variants[v]);
  const double cell = analysis.fit.noise;
  JsonTree noise = JsonTree::object();
  noise.set("cell_sd", number_or_null(cell))
      .set("difference_sd", number_or_null(std::sqrt(2.0) * cell))
      .set("dof", analysis.fit.dof)
      .set("unpaired_sd", number_or_null(analysis.unpaired_noise));
  return JsonTree::object()
      .set("name", analysis.budget)
      .set("noise", noise)
      .set("variants", variants_tree(analysis, sweep))
      .set("order", order)
      .set("against_baseline", family_tree(analysis.against_baseline, sweep))
      .set("neighbours", family_tree(analysis.neighbours, sweep))
      .set("claims", claims_tree(analysis, sweep))
      .set("against_first", family_tree(analysis.against_first, sweep));
}

JsonTree moves_tree(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses) {
  JsonTree list = JsonTree::array();
  for (const Comparison& c : moves(sweep, analyses)) {
    const auto judged = [](const Judgement& j, const Design& design) {
      return judgement_tree(j, smallest_resolved(design), {});
    };
    list.append(JsonTree::object()
                    .set("a", sweep.variants[c.a])
                    .set("from", analyses.front().budget)
                    .set("to", analyses.back().budget)
                    .set("seeds", static_cast<std::int64_t>(c.differences.size()))
                    .set("mean", number_or_null(c.mean))
                    .set("paired", judged(c.paired, c.paired_design))
                    .set("pooled", judged(c.pooled, c.pooled_design)));
  }
  return list;
}

JsonTree cells_tree(const Collected& sweep) {
  JsonTree list = JsonTree::array();
  for (const Outcome& cell : sweep.cells) {
    JsonTree one = JsonTree::object();
    one.set("variant", cell.variant)
        .set("budget", cell.budget)
        .set("seed", cell.seed)
        .set("path", cell.path)
        .set("status", cell.status);
    one.set("cell", cell.file);
    list.append(one);
  }
  return list;
}

void put(const fs::path& path, const std::string& text) {
  core::write_file_atomically(path, [&](std::ostream& out) { out << text; });
}

std::string verdict_text(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses) {
  std::string text;
  for (const BudgetAnalysis& analysis : analyses) {
    text += "budget " + analysis.budget + "\n";
    for (const Verdict& v : analysis.against_baseline) text += "  " + sentence(v, sweep) + "\n";
    text += analysis.order.empty() ? "" : "  measured order:";
    for (std::size_t i = 0; i < analysis.order.size(); ++i) {
      text += i == 0 ? " " : analysis.neighbours[i - 1].comparison.paired.resolved ? " < " : " ? ";
      text += sweep.labels[analysis.order[i]];
    }
    text += analysis.order.empty() ? "" : "   (<: resolved, ?: not)\n";
  }
  return text;
}

}  // namespace

JsonTree to_tree(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses) {
  JsonTree budgets = JsonTree::array();
  for (const BudgetAnalysis& analysis : analyses) budgets.append(budget_tree(analysis, sweep));
  const auto copied = [&](const char* name) {
    const JsonTree* found = sweep.sweep.find(name);
    return found ? *found : JsonTree();
  };
  return JsonTree::object()
      .set("schema", 1)
      .set("name", copied("name"))
      .set("title", copied("title"))
      .set("revision", copied("revision"))
      .set("baseline", sweep.variants[sweep.baseline])
      .set("metric", "val_loss")
      .set("unit", "nats per token")
      .set("confidence", 1 - kFalseAlarm)
      .set("power", kPower)
      .set("seeds", copied("seeds"))
      .set("budgets", budgets)
      .set("moves", moves_tree(sweep, analyses))
      .set("cells", cells_tree(sweep));
}

std::string write_results(const fs::path& folder) {
  const Collected sweep = collect(folder);
  const std::vector<BudgetAnalysis> analyses = analyse(sweep);
  const fs::path report = folder / "report";
  std::error_code ignored;  // that it is missing is told by what is written into it
  fs::create_directories(report, ignored);
  put(report / "results.json", config::to_text(to_tree(sweep, analyses), 2) + "\n");
  put(report / "cells.csv", cells_csv(sweep));
  put(report / "comparisons.csv", comparisons_csv(sweep, analyses));
  return verdict_text(sweep, analyses);
}

}  // namespace strait::ablate
