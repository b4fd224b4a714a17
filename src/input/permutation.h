#pragma once

#include <cstdint>

namespace strait::input {

/// A shuffle of 0 .. n-1 in constant memory, chosen by (seed, epoch): a Feistel network over the
/// next power of four, walked along its cycle until the value falls below n (Black and Rogaway,
/// "Ciphers with Arbitrary Finite Domains", 2002). Four network calls at most on average.
class Permutation {
 public:
  /// Precondition: size >= 1.
  Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t epoch);
  /// Place of `index` in the shuffle. Precondition: 0 <= index < size.
  std::int64_t operator()(std::int64_t index) const;

 private:
  std::uint64_t network(std::uint64_t value) const;

  std::uint64_t size_;
  std::uint64_t key_;
  std::uint64_t epoch_;
  int half_bits_;
};

}  // namespace strait::input
