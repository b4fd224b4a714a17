#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/gemm.h"
#include "tests/bench/ops/pool.h"

namespace strait::bench {

/// One point of the grid: an attention core, or a whole layer around it with D = 2048.
struct Row {
  std::string what = "core";  // or "layer"
  std::string kind = "mha";   // of a layer, as model.attention.kind
  std::int64_t heads = 0, groups = 0, key_dim = 128, value_dim = 128;
  std::int64_t documents = 1, length = 0;  // tokens = documents * length
  bool causal = true;
  std::string only = {};  // "fwd" or "bwd": that pass alone
  int rounds = 7;         // the median is taken over so many
  double round_ms = 10;   // calls in a round: as many as take about so long
  std::int64_t tokens() const { return documents * length; }
};

/// Median milliseconds of a call; absent where the row wants the other pass alone.
struct Times {
  std::optional<double> fwd_ms, bwd_ms;
};

Times measure_core(const Row& row, const kernels::Stream& stream);
Times measure_layer(const Row& row, const kernels::Stream& stream);
/// The matrix products of a layer, forward and backward; addresses mean nothing.
std::vector<kernels::Gemm> products_of_layer(const Row& row);

/// The program's memory for tensors; what an earlier row took is given up.
Pool& empty_pool(const kernels::Stream& stream);

/// Of a call that has run once before; calls are captured in one CUDA graph and follow one another.
double median_ms(const Row& row, const kernels::Stream& stream, const std::function<void()>& call);

}  // namespace strait::bench
