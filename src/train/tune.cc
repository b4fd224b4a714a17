#include "train/tune.h"

#include "core/error.h"
#include "core/files.h"
#include "kernels/gemm_tuning.h"
#include "kernels/memory.h"

namespace strait::train {

void tune_products(const StepPlan& plan, const std::filesystem::path& folder, core::Log& log) {
  if (!kernels::available(Device::cuda)) {
    throw core::InputError("--tune measures on a GPU and there is none that this build can use");
  }
  if (!std::filesystem::is_directory(folder)) {
    throw core::InputError("--tune " + folder.string() +
                           ": no such folder; the build reads kernels/cuda/gemm_table");
  }
  const std::filesystem::path path = folder / kernels::gemm_table_file();
  const std::string old = std::filesystem::exists(path) ? core::read_file(path) : "";
  const kernels::GemmTuning tuning = kernels::tune_gemms(plan.products, old);
  core::write_file_atomically(path, [&](std::ostream& out) { out << tuning.table; });
  log.info(tuning.report + "wrote " + path.string() + "; build again to use it");
}

}  // namespace strait::train
