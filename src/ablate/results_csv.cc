#include <charconv>
#include <cmath>

#include "ablate/results.h"

namespace strait::ablate {
namespace {

using config::JsonTree;

/// Members of cell.json, in the order of columns.
constexpr const char* kCellColumns[] = {
    "val_loss", "val_bpb",      "tokens",     "steps",  "epochs",   "lr",   "train_flops", "wall_s",
    "tok_s",    "jobs_per_gpu", "peak_bytes", "device", "revision", "hash", "exit_code",   "error"};
constexpr const char* kCountColumns[] = {"total_parameters",         "active_parameters",
                                         "non_embedding_parameters", "attention_parameters",
                                         "train_flops_per_token",    "kv_bytes_per_token"};

std::string number(double value) {
  if (!std::isfinite(value)) return "";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

/// As RFC 4180 has it.
std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
  return field + "\"";
}

std::string field(const JsonTree* value) {
  if (!value) return "";
  if (value->is(JsonTree::Kind::number)) return number(value->number());
  return quoted(value->text());
}

using Row = std::vector<std::string>;

std::string joined(const Row& row) {
  std::string text;
  for (const std::string& field : row) text.append(text.empty() ? "" : ",").append(field);
  return text.append("\n");
}

void add_judgement(Row& row, const Judgement& j, double smallest, std::optional<int> seeds) {
  row.push_back(std::to_string(j.dof));
  for (const double value : {j.sd, j.low, j.high, j.p, j.p_holm}) row.push_back(number(value));
  row.push_back(j.resolved ? "yes" : "no");
  row.push_back(number(smallest));
  row.push_back(seeds ? std::to_string(*seeds) : "");
}

std::string verdict_row(const std::string& family, const BudgetAnalysis& analysis, const Verdict& v,
                        const Collected& sweep, const std::string& outcome) {
  const Comparison& c = v.comparison;
  Row row = {quoted(analysis.budget),        family,
             quoted(sweep.variants[c.a]),    quoted(sweep.variants[c.b]),
             std::to_string(v.seeds.size()), number(c.mean)};
  add_judgement(row, c.paired, v.smallest, v.seeds_needed);
  add_judgement(row, c.pooled, v.smallest_pooled, v.seeds_needed_pooled);
  row.push_back(v.tokens_needed ? number(*v.tokens_needed) : "");
  row.push_back(outcome);
  row.push_back(quoted(sentence(v, sweep)));
  return joined(row);
}

}  // namespace

std::string cells_csv(const Collected& sweep) {
  Row head = {"variant", "budget", "seed", "status"};
  head.insert(head.end(), std::begin(kCellColumns), std::end(kCellColumns));
  head.insert(head.end(), std::begin(kCountColumns), std::end(kCountColumns));
  head.push_back("path");
  std::string text = joined(head);
  for (const Outcome& cell : sweep.cells) {
    Row row = {quoted(cell.variant), quoted(cell.budget), std::to_string(cell.seed), cell.status};
    for (const char* column : kCellColumns) row.push_back(field(cell.file.find(column)));
    const JsonTree* counts = cell.file.find("counts");
    for (const char* column : kCountColumns) {
      row.push_back(field(counts ? counts->find(column) : nullptr));
    }
    row.push_back(quoted(cell.path));
    text += joined(row);
  }
  return text;
}

std::string comparisons_csv(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses) {
  Row head = {"budget", "family", "a", "b", "seeds", "mean"};
  for (const std::string way : {"paired_", "pooled_"}) {
    for (const char* column : {"dof", "sd", "low", "high", "p", "p_holm", "resolved",
                               "smallest_resolved", "seeds_needed"}) {
      head.push_back(way + column);
    }
  }
  head.insert(head.end(), {"tokens_needed", "outcome", "verdict"});
  std::string text = joined(head);
  for (const BudgetAnalysis& a : analyses) {
    for (const Verdict& v : a.against_baseline) text += verdict_row("baseline", a, v, sweep, "");
    for (const Verdict& v : a.neighbours) text += verdict_row("neighbour", a, v, sweep, "");
    for (std::size_t i = 0; i < a.claimed.size(); ++i) {
      const Comparison& c = a.claimed[i].comparison;
      text += verdict_row("claim", a, a.claimed[i], sweep, outcome(a.claims[i], c.mean, c.paired));
    }
    for (const Verdict& v : a.against_first) text += verdict_row("first", a, v, sweep, "");
  }
  return text;
}

}  // namespace strait::ablate
