#include "ablate/machine.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "config/data_list.h"
#include "core/cores.h"

namespace strait::ablate {

namespace fs = std::filesystem;

std::vector<std::string> visible_gpus() {
  if (const char* listed = std::getenv("CUDA_VISIBLE_DEVICES")) return config::split_list(listed);
  std::vector<std::string> gpus;
  std::error_code ignored;
  while (fs::exists("/dev/nvidia" + std::to_string(gpus.size()), ignored)) {
    gpus.push_back(std::to_string(gpus.size()));
  }
  return gpus;
}

std::int64_t usable_cores() {
  return std::max<std::int64_t>(static_cast<std::int64_t>(core::cores_of().count()), 1);
}

std::string beside_this_program(const std::string& name) {
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  if (failed) return name;
  return (self.parent_path() / name).string();
}

}  // namespace strait::ablate
