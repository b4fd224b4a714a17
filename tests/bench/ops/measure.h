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
  double ceiling = 0;  // GB/s or TFLOP/s that the device was found to reach

  double rate() const { return product ? flops / us * 1e-6 : bytes / us * 1e-3; }
  double fraction() const { return rate() / ceiling; }
};

/// Times a case on as many sets of tensors as overflow the L2 cache several times.
Result measure(const Case& item, Pool& pool, const Stream& stream, std::size_t l2_bytes);

/// GB/s, read and written, of the faster of cudaMemcpy and Copy on 1 GiB.
double copy_ceiling(Pool& pool, const Stream& stream);
/// An 8192^3 product in bf16 of random values.
Case large_product();

/// Keeps the device busy until its clocks have settled.
void heat_up(Pool& pool, const Stream& stream);

}  // namespace strait::bench
