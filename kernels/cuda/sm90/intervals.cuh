#pragma once

#include <climits>

#include "kernels/cuda/sm90/barrier.cuh"

// Which keys a query row sees, and a tile of query rows.
namespace strait::kernels::cuda::sm90 {

/// Keys [begin, end) of each query row, as given.
struct RowIntervals {
  const int* k_begin;
  const int* k_end;
  int tokens, keys;

  /// {0, 0} for a row without keys or beyond the tokens.
  __device__ __forceinline__ int2 at(int row) const {
    if (row >= tokens) return {0, 0};
    const int begin = max(k_begin[row], 0), end = min(k_end[row], keys);
    return begin < end ? int2{begin, end} : int2{0, 0};
  }
};

/// Keys that some row of a tile sees, [begin, end), and keys that every row sees,
/// [full_begin, full_end); either may be empty.
struct Span {
  int begin, end, full_begin, full_end;

  __device__ __forceinline__ bool empty() const { return begin >= end; }
  __device__ __forceinline__ bool covers(int first, int last) const {
    return full_begin <= first && last <= full_end;
  }
};

/// Span of rows [first, first + kRows), read by a whole warp; the same in every lane. Rows beyond
/// the tokens do not count; rows without keys leave no key that every row sees.
template <int kRows>
__device__ __forceinline__ Span span_of_rows(const RowIntervals& intervals, int first) {
  Span span{INT_MAX, 0, 0, INT_MAX};
#pragma unroll
  for (int i = 0; i < kRows; i += kWarpLanes) {
    const int row = first + i + static_cast<int>(threadIdx.x) % kWarpLanes;
    if (row >= intervals.tokens) continue;
    const int2 at = intervals.at(row);
    span.full_begin = max(span.full_begin, at.x);
    span.full_end = min(span.full_end, at.y);
    if (at.x >= at.y) continue;
    span.begin = min(span.begin, at.x);
    span.end = max(span.end, at.y);
  }
  return {__reduce_min_sync(kFullWarp, span.begin), __reduce_max_sync(kFullWarp, span.end),
          __reduce_max_sync(kFullWarp, span.full_begin),
          __reduce_min_sync(kFullWarp, span.full_end)};
}

}  // namespace strait::kernels::cuda::sm90
