#pragma once

#include <cstdint>
#include <vector>

#include "core/param_table.h"

// Sizes on this rank and on others, for the files that implement ParamTable and those that move
// shards.
namespace strait::core {

inline std::int64_t product(const std::vector<std::int64_t>& dims) {
  std::int64_t n = 1;
  for (const std::int64_t size : dims) n *= size;
  return n;
}

/// Parameters begin at multiples of this, so that every flat tensor is aligned to 256 bytes there.
inline constexpr std::int64_t kAlignElements = 128;

inline std::int64_t padded(std::int64_t elements) {
  return (elements + kAlignElements - 1) / kAlignElements * kAlignElements;
}

/// Shape of what this rank holds. Throws InputError when the shard does not divide it.
std::vector<std::int64_t> local_shape_of(const ParamSpec& spec);

/// What each rank of the shard's axis holds of a part: Part::runs of every one, in rank order.
std::vector<std::vector<Run>> runs_of_ranks(const Part& part);

}  // namespace strait::core
