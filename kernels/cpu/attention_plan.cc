#include "kernels/cpu/attention_plan.h"

#include <algorithm>
#include <string>

#include "kernels/check.h"

namespace strait::kernels::cpu {
namespace {

struct Interval {
  std::int64_t begin, end;
  bool empty() const { return begin >= end; }
};

std::vector<Interval> read_intervals(const char* op, const ConstTensor& k_begin,
                                     const ConstTensor& k_end, std::int64_t keys) {
  std::vector<Interval> intervals;
  intervals.reserve(static_cast<std::size_t>(k_begin.shape[0]));
  for (std::int64_t t = 0; t < k_begin.shape[0]; ++t) {
    const Interval at{k_begin.as<std::int32_t>()[t], k_end.as<std::int32_t>()[t]};
    if (!at.empty() && (at.begin < 0 || at.end > keys)) {
      throw OpError(std::string(op) + ": k_begin, k_end: row " + std::to_string(t) +
                    " attends to keys [" + std::to_string(at.begin) + ", " +
                    std::to_string(at.end) + ") but k and v have " + std::to_string(keys) +
                    " rows; intervals are in rows of k");
    }
    intervals.push_back(at);
  }
  return intervals;
}

QueryBlock make_block(const std::vector<Interval>& intervals, std::int64_t first,
                      std::int64_t rows) {
  QueryBlock block{first, rows, 0, 0};
  for (std::int64_t t = first; t < first + rows; ++t) {
    const Interval& at = intervals[t];
    if (at.empty()) continue;
    const bool none = block.k_begin >= block.k_end;
    block.k_begin = none ? at.begin : std::min(block.k_begin, at.begin);
    block.k_end = none ? at.end : std::max(block.k_end, at.end);
  }
  return block;
}

}  // namespace

AttentionPlan plan_attention(const char* op, const ConstTensor& k_begin, const ConstTensor& k_end,
                             std::int64_t keys, std::int64_t block_rows,
                             std::int64_t segment_rows) {
  const std::vector<Interval> intervals = read_intervals(op, k_begin, k_end, keys);
  const auto tokens = static_cast<std::int64_t>(intervals.size());
  // A cut before row t is free when all later rows read keys past those read so far. Chunks in
  // another order than their keys merely cut less: `least_after` looks at every later row.
  std::vector<std::int64_t> least_after(intervals.size() + 1, keys);
  for (std::int64_t t = tokens - 1; t >= 0; --t) {
    const Interval& at = intervals[t];
    least_after[t] = at.empty() ? least_after[t + 1] : std::min(least_after[t + 1], at.begin);
  }
  AttentionPlan plan;
  std::int64_t first = 0, most_before = 0;
  for (std::int64_t t = 1; t <= tokens; ++t) {
    if (!intervals[t - 1].empty()) most_before = std::max(most_before, intervals[t - 1].end);
    const bool free_cut = least_after[t] >= most_before && t - first >= segment_rows;
    if (t < tokens && !free_cut) continue;
    const std::size_t begin = plan.blocks.size();
    for (std::int64_t row = first; row < t; row += block_rows) {
      plan.blocks.push_back(make_block(intervals, row, std::min(block_rows, t - row)));
    }
    plan.segments.push_back({begin, plan.blocks.size()});
    first = t;
  }
  return plan;
}

}  // namespace strait::kernels::cpu
