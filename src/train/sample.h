#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "train/decoder.h"
#include "train/draw.h"
#include "train/engine.h"

namespace strait::train {

struct SampleOptions {
  std::int64_t tokens = 0;  // to generate at most
  DrawRule rule = {};
  std::uint64_t seed = 1;
  std::int32_t stop = -1;  // ends the text when drawn; -1: none
};

/// Continues `prompt` (not empty) by running the last seq_len tokens anew for every token. Runs on
/// this rank alone. Returns the new tokens.
std::vector<std::int32_t> sample(Engine& engine, std::vector<std::int32_t> prompt,
                                 const SampleOptions& options);

/// The same by a decoder with room for the whole text, which it reads from the start: each token
/// is computed once. `each` is called with every new token.
std::vector<std::int32_t> generate(Decoder& decoder, const std::vector<std::int32_t>& prompt,
                                   const SampleOptions& options,
                                   const std::function<void(std::int32_t)>& each = {});

}  // namespace strait::train
