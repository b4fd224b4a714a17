#include "input/permutation.h"

#include <algorithm>
#include <bit>

#include "core/rng.h"

namespace strait::input {
namespace {

constexpr std::uint64_t kRounds = 8;

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t epoch)
    : size_(static_cast<std::uint64_t>(size)),
      key_(seed ^ core::stream_id("input/shuffle")),
      epoch_(epoch),
      half_bits_(std::max<int>(1, static_cast<int>(std::bit_width(size_ - 1) + 1) / 2)) {}

std::uint64_t Permutation::network(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_, right = value & mask;
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    const std::uint64_t mixed = left ^ (core::philox(key_, epoch_, round << 32 | right)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  auto value = static_cast<std::uint64_t>(index);
  do {
    value = network(value);
  } while (value >= size_);
  return static_cast<std::int64_t>(value);
}

}  // namespace strait::input
