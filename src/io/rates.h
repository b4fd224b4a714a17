#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace strait::io {

/// One op takes FLOPs / flops + bytes / bytes seconds of them; a rate of 0 takes no time.
struct OpRate {
  double flops = 0;  // a second
  double bytes = 0;  // a second
};

/// Attention core of causal documents of `length` tokens: FLOPs a second, the causal half counted
/// once, backward 2.5 times the forward's.
struct CoreRate {
  std::int64_t key_dim = 0;
  bool grouped = false;  // query heads share keys
  std::int64_t length = 0;
  double forward = 0, backward = 0;
};

/// Bytes that a rank sends a second while `ranks` of one host exchange at once.
struct LinkRate {
  std::int64_t ranks = 0;
  double bytes = 0;
  std::string device = {};  // that it was measured on, which may be a relative
};

/// What was measured on one kind of device in bf16 (scripts/gpu_rates.py).
struct Rates {
  std::string device, revision, date;
  double copy = 0;    // bytes a second, read and written
  double launch = 0;  // seconds that a launch takes beside its work
  std::map<std::string, OpRate> ops;
  std::vector<CoreRate> cores;
  /// Of kernels not made for Hopper: the backward's rate alone, over FLOPs of padded heads.
  std::vector<CoreRate> general_cores;
  std::vector<LinkRate> links;  // empty: not measured
};

/// Reads tests/bench/results/rates-*.json. Throws InputError with path, key and what was expected.
Rates read_rates(const std::filesystem::path& path);

}  // namespace strait::io
