#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

// How the CPU attention cuts its queries. The cut depends on the intervals alone, never on the
// number of threads, so sums have one order.
namespace strait::kernels::cpu {

/// Consecutive query rows worked on together. [k_begin, k_end) is the hull of their intervals.
struct QueryBlock {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int64_t k_begin = 0;
  std::int64_t k_end = 0;
};

/// Consecutive blocks [begin, end) whose key rows no other segment reads: segments may add to key
/// gradients in parallel.
struct Segment {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct AttentionPlan {
  std::vector<QueryBlock> blocks;
  std::vector<Segment> segments;
};

/// Cuts T queries into blocks of at most `block_rows`, which do not straddle segments of at least
/// `segment_rows` rows. Throws OpError naming `op` when an interval leaves [0, keys].
AttentionPlan plan_attention(const char* op, const ConstTensor& k_begin, const ConstTensor& k_end,
                             std::int64_t keys, std::int64_t block_rows, std::int64_t segment_rows);

}  // namespace strait::kernels::cpu
