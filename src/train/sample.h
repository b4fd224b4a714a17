#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/engine.h"

namespace strait::train {

struct SampleOptions {
  std::int64_t tokens = 0;   // to generate at most
  double temperature = 0.8;  // 0: the most likely token
  std::uint64_t seed = 1;
  std::int32_t stop = -1;  // ends the text when drawn; -1: none
};

/// Continues `prompt` (not empty) by running the last seq_len tokens anew for every token. Runs on
/// this rank alone. Returns the new tokens.
std::vector<std::int32_t> sample(Engine& engine, std::vector<std::int32_t> prompt,
                                 const SampleOptions& options);

}  // namespace strait::train
