#pragma once

#include <string>
#include <vector>

#include "tests/bench/ops/case.h"

namespace strait::bench {

/// What one case did.
struct Result {
  std::string name, shape;
  bool product = false;
  double us = 0, flops = 0, bytes = 0;

  double gb_s() const { return bytes / us * 1e-3; }
  double tflop_s() const { return flops / us * 1e-6; }
};

/// Rates of the device that the cases are compared with.
struct Ceilings {
  double copy_gb_s = 0;     // bytes read and written by a copy of 1 GiB
  double gemm_tflop_s = 0;  // 8192^3 in bf16 through Gemm, random values

  /// The larger of both, rate by rate.
  void raise(const Ceilings& other);
  /// Achieved rate of a result over the ceiling it is judged by.
  double fraction(const Result& result) const;
};

/// Times a case on as many sets of tensors as overflow the L2 cache several times.
Result measure(const Case& item, Pool& pool, const Stream& stream, std::size_t l2_bytes);

Ceilings measure_ceilings(Pool& pool, const Stream& stream);

}  // namespace strait::bench
