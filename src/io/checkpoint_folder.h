#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

// The folders a run's checkpoints live in: names, completeness, publication, pruning.
namespace strait::io {

/// "step_00000100".
std::string step_folder_name(std::int64_t step);

struct StepFolder {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// Folders under a final name, newest first, complete or not.
std::vector<StepFolder> list_step_folders(const std::filesystem::path& checkpoints);

/// Where the checkpoint of a step is built.
std::filesystem::path temporary_step_folder(const std::filesystem::path& checkpoints,
                                            std::int64_t step);

/// Flushes the temporary folder of a step and gives it its final name in place of any older folder
/// of that step. Returns the final path.
std::filesystem::path publish_step_folder(const std::filesystem::path& checkpoints,
                                          std::int64_t step);

/// Removes temporaries and, of the folders for which `complete` holds, all but the newest `keep`
/// (0: keeps all) and those of multiples of `every` (0: of none). `published` is never removed.
void prune_step_folders(const std::filesystem::path& checkpoints, std::int64_t keep,
                        std::int64_t every, const std::filesystem::path& published,
                        const std::function<bool(const std::filesystem::path&)>& complete);

}  // namespace strait::io
