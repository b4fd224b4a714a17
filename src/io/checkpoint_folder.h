#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

// The folders a run's checkpoints live in: names, completeness, publication, pruning.
namespace strait::io {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kStateFile = "state.json";

/// "step_00000100".
std::string step_folder_name(std::int64_t step);

struct StepFolder {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// Folders under a final name, newest first, complete or not.
std::vector<StepFolder> list_step_folders(const std::filesystem::path& checkpoints);

/// Lets `write` fill a temporary folder, flushes it and gives it its final name in place of any
/// older folder of that step. Returns the final path.
std::filesystem::path publish_step_folder(
    const std::filesystem::path& checkpoints, std::int64_t step,
    const std::function<void(const std::filesystem::path&)>& write);

/// Removes temporaries and all but the newest `keep` of the folders for which `complete` holds
/// (0: keeps all). `published` is never removed.
void prune_step_folders(const std::filesystem::path& checkpoints, std::int64_t keep,
                        const std::filesystem::path& published,
                        const std::function<bool(const std::filesystem::path&)>& complete);

}  // namespace strait::io
