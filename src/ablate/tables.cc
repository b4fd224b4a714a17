#include "ablate/tables.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace strait::ablate {
namespace {

using Row = std::vector<std::string>;

std::string format(const char* pattern, double value) {
  char text[48];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

/// Columns as wide as their longest cell; the first `left` are set left, the others right.
std::string aligned(const std::vector<Row>& rows, std::size_t left) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (i < left ? row[i] + blanks : blanks + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string solved_text(const Entry& entry) {
  std::string text;
  for (const Assignment& a : entry.solved.solved) {
    text +=
        (text.empty() ? "" : ", ") + a.path.substr(a.path.rfind('.') + 1) + "=" + to_text(a.value);
  }
  if (entry.tuned && entry.tuned->value > 0) {
    text += (text.empty() ? "" : ", ") + format("tuned %g", entry.tuned->value);
    if (!entry.tuned->edge.empty()) text += " (the " + entry.tuned->edge + " edge)";
  }
  return text;
}

std::string hours(double seconds) {
  return seconds >= 3600 ? format("%.2f h", seconds / 3600) : format("%.1f min", seconds / 60);
}

}  // namespace

std::string variant_table(const Sweep& sweep, const std::vector<Entry>& entries) {
  Row head = {"variant", "label",         "solved",     "total",
              "active",  "non-embedding", "FLOP/token", "cache B/token"};
  if (sweep.match) head.push_back("off target");
  std::vector<Row> rows = {head};
  std::vector<Solved> solved;
  for (const Entry& entry : entries) {
    const Counts& counts = entry.solved.counts;
    rows.push_back(
        {entry.solved.variant.spec.name, entry.solved.variant.spec.label, solved_text(entry),
         format("%.0f", counts.total_parameters), format("%.0f", counts.active_parameters),
         format("%.0f", counts.non_embedding_parameters),
         format("%.4g", counts.train_flops_per_token), format("%.0f", counts.kv_bytes_per_token)});
    if (sweep.match) rows.back().push_back(format("%+.2f %%", 100 * entry.solved.deviation));
    solved.push_back(entry.solved);
  }
  std::string text = aligned(rows, 3);
  if (sweep.match) {
    text += "matched: " + std::string(word(sweep.match->quantity)) +
            format(" within %g %%", 100 * sweep.match->tolerance) +
            (sweep.match->variant.empty() ? format(" of %.0f", sweep.match->target)
                                          : " of " + sweep.match->variant) +
            "\n";
  }
  const double tolerance = sweep.match ? sweep.match->tolerance : 0;
  for (const std::string& sentence : not_matched(solved, sweep.baseline, tolerance)) {
    text += "not matched: " + sentence + "\n";
  }
  return text;
}

std::string cost_preview(const std::vector<Cell>& left, std::size_t finished, const Costs& costs,
                         std::size_t slots, std::int64_t jobs) {
  std::vector<double> seconds;
  double flops = 0, tokens = 0;
  for (const Cell& cell : left) {
    seconds.push_back(costs.seconds(cell));
    flops += cell.train_flops;
    tokens += cell.tokens();
  }
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  const double wall = makespan(seconds, slots);
  const auto devices = static_cast<double>(slots) / static_cast<double>(jobs);
  return std::to_string(left.size()) + " cells to run, " + std::to_string(finished) +
         " finished; " + format("%.3g tokens, ", tokens) + format("%.3g FLOPs, ", flops) +
         format("%.2f device hours, ", sum / static_cast<double>(jobs) / 3600) + hours(wall) +
         format(" on %.0f at a time", static_cast<double>(slots)) +
         format(" (%.0f devices), ", devices) + "ends about " + utc_time(wall) +
         (costs.measured() ? "; by the rate of finished cells\n"
                           : "; by an assumed rate, see --assume-flops\n");
}

std::string score_table(const Sweep& sweep, const std::vector<Entry>& entries,
                        const std::vector<Score>& scores) {
  std::vector<Row> rows = {{"variant", "label"}};
  for (const Budget& budget : sweep.budgets) {
    rows[0].insert(rows[0].end(), {"loss at " + budget.name, "seeds"});
  }
  for (const Entry& entry : entries) {
    const VariantSpec& spec = entry.solved.variant.spec;
    Row row = {spec.name, spec.label};
    for (const Budget& budget : sweep.budgets) {
      const auto at = std::ranges::find_if(scores, [&](const Score& score) {
        return score.variant == spec.name && score.budget == budget.name;
      });
      const bool none = at == scores.end() || at->losses.empty();
      const double sum = none ? 0 : std::accumulate(at->losses.begin(), at->losses.end(), 0.0);
      const std::size_t n = none ? 0 : at->losses.size();
      row.push_back(none ? "-" : format("%.4f", sum / static_cast<double>(n)));
      row.push_back(std::to_string(n));
    }
    rows.push_back(row);
  }
  return aligned(rows, 2);
}

}  // namespace strait::ablate
