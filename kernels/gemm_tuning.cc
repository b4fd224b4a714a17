#include "kernels/gemm_tuning.h"

#ifdef STRAIT_CUDA
#include "kernels/cuda/gemm_tune.h"
#endif

namespace strait::kernels {

#ifdef STRAIT_CUDA

std::string gemm_table_file() {
  return cuda::gemm_table_file();
}

GemmTuning tune_gemms(const std::vector<Gemm>& products, const std::string& old_table) {
  return cuda::tune_gemms(products, old_table);
}

std::string gemm_summary() {
  return cuda::gemm_summary();
}

#else

namespace {

[[noreturn]] void absent() {
  throw OpError("Gemm: tuning needs a GPU and this build has no CUDA backend; configure with CUDA");
}

}  // namespace

std::string gemm_table_file() {
  absent();
}

GemmTuning tune_gemms(const std::vector<Gemm>&, const std::string&) {
  absent();
}

std::string gemm_summary() {
  return "";
}

#endif

}  // namespace strait::kernels
