#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "kernels/stream.h"

// The benchmark's own dealings with the CUDA runtime. Throws std::runtime_error when a call fails.
namespace strait::bench {

/// Of the current device.
std::size_t l2_bytes();

/// Version of the library for matrix products.
std::string cublaslt_version();

/// A stream of the current device; lives until the process ends.
kernels::Stream make_stream();

/// Microseconds of one call of `launch(i)`: calls i = 0 .. `count` - 1 are captured into a graph,
/// the graph is replayed `rounds` times between events; median over rounds of the mean over calls.
/// Every call must have run once before, so that workspaces exist.
double median_us(const std::function<void(int)>& launch, int count, int rounds,
                 const kernels::Stream& stream);

}  // namespace strait::bench
