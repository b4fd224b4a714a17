#pragma once

#include "kernels/gemm_tuning.h"

// Behind kernels/gemm_tuning.h.
namespace strait::kernels::cuda {

std::string gemm_table_file();
GemmTuning tune_gemms(const std::vector<Gemm>& products, const std::string& old_table);
std::string gemm_summary();

}  // namespace strait::kernels::cuda
