#pragma once

#include <span>

namespace strait::kernels::cuda {

/// Contents of gemm_table/*.txt, compiled in by the build.
std::span<const char* const> gemm_table_texts();

}  // namespace strait::kernels::cuda
