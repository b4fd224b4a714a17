#include "input/random_source.h"

#include "core/rng.h"

namespace strait::input {

RandomSource::RandomSource(std::uint64_t seed, std::int64_t vocab_size, std::int32_t eod)
    : seed_(seed), choices_(static_cast<std::uint64_t>(vocab_size - 1)), eod_(eod) {}

void RandomSource::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  const std::uint64_t stream = core::stream_id("data/random");
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t word =
        core::philox(seed_, static_cast<std::uint64_t>(first) + i, stream)[0];
    const auto id = static_cast<std::int32_t>(word * choices_ >> 32);
    out[i] = id < eod_ ? id : id + 1;
  }
}

}  // namespace strait::input
