#pragma once

#include <string>
#include <vector>

#include "kernels/gemm.h"

// Choosing algorithms for matrix products by measurement, and telling which are in use. The table
// that results becomes part of the next build, see kernels/cuda/gemm_table.
namespace strait::kernels {

struct GemmTuning {
  std::string file;    // name of this device's table: "nvidia_h100_80gb_hbm3.txt"
  std::string table;   // its new contents
  std::string report;  // a line for each product
};

/// The name of the table of the current device.
std::string gemm_table_file();

/// Times the library's candidates for every distinct product on the current CUDA device, which
/// should do nothing else meanwhile. Addresses in `products` are not read; random values stand in.
/// Rows of `old_table` for the same device and library stay where they are not measured again.
/// Throws OpError in a build without CUDA, DeviceError when the device fails.
GemmTuning tune_gemms(const std::vector<Gemm>& products, const std::string& old_table);

/// How many products of this process so far run by measured algorithms, for the log; empty when
/// none ran on a GPU.
std::string gemm_summary();

}  // namespace strait::kernels
