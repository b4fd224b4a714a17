#pragma once

#include <cstdint>

#include "input/token_source.h"

namespace strait::input {

/// Random ids in place of text, for benchmarks: uniform over the vocabulary but its EOD, without
/// ends of documents. Token i is a function of seed and i; there are more than a run can read.
class RandomSource final : public TokenSource {
 public:
  /// Precondition: vocab_size >= 2, 0 <= eod < vocab_size.
  RandomSource(std::uint64_t seed, std::int64_t vocab_size, std::int32_t eod);

  std::int64_t size() const override { return std::int64_t{1} << 40; }
  std::int64_t documents() const override { return 0; }
  std::int32_t eod() const override { return eod_; }
  bool stored() const override { return false; }
  void read(std::int64_t first, std::span<std::int32_t> out) const override;

 private:
  std::uint64_t seed_;
  std::uint64_t choices_;  // ids that may be drawn
  std::int32_t eod_;
};

}  // namespace strait::input
