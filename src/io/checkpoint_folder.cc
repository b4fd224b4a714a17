#include "io/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kTemporary = ".tmp-";
constexpr std::size_t kDigits = 8;

std::optional<std::int64_t> step_of(const std::string& name) {
  if (name.rfind(kPrefix, 0) != 0) return {};
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || at != end || step_folder_name(step) != name) return {};
  return step;
}

/// Removal by way of a temporary name: an interrupted one leaves no half folder under a final name.
void retire(const fs::path& folder) {
  const std::string name = std::string(kTemporary) + "old-" + folder.filename().string();
  const fs::path aside = folder.parent_path() / name;
  fs::remove_all(aside);
  core::publish(folder, aside);
}

void remove_temporaries(const fs::path& checkpoints) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
    if (entry.path().filename().string().rfind(kTemporary, 0) == 0) {
      leftovers.push_back(entry.path());
    }
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

}  // namespace

std::string step_folder_name(std::int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return std::string(kPrefix) + digits;
}

std::vector<StepFolder> list_step_folders(const fs::path& checkpoints) {
  std::vector<StepFolder> folders;
  std::error_code unseen;
  if (!fs::is_directory(checkpoints, unseen)) return folders;
  const fs::directory_iterator entries(checkpoints, unseen);
  if (unseen) {
    throw core::InputError(checkpoints.string() + ": cannot be read: " + unseen.message() +
                           "; see its permissions");
  }
  for (const fs::directory_entry& entry : entries) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory(unseen)) folders.push_back({*step, entry.path()});
  }
  std::sort(folders.begin(), folders.end(),
            [](const StepFolder& a, const StepFolder& b) { return a.step > b.step; });
  return folders;
}

fs::path temporary_step_folder(const fs::path& checkpoints, std::int64_t step) {
  return checkpoints / (std::string(kTemporary) + step_folder_name(step));
}

fs::path publish_step_folder(const fs::path& checkpoints, std::int64_t step) {
  const fs::path temporary = temporary_step_folder(checkpoints, step);
  const fs::path final_path = checkpoints / step_folder_name(step);
  core::sync_path(temporary);
  if (fs::exists(final_path)) retire(final_path);
  core::publish(temporary, final_path);
  return final_path;
}

void prune_step_folders(const fs::path& checkpoints, std::int64_t keep, std::int64_t every,
                        const fs::path& published,
                        const std::function<bool(const fs::path&)>& complete) {
  std::int64_t kept = 0;
  for (const StepFolder& folder : list_step_folders(checkpoints)) {
    if (keep == 0 || !complete(folder.path)) continue;
    const bool stays = ++kept <= keep || (every > 0 && folder.step % every == 0);
    if (!stays && folder.path != published) retire(folder.path);
  }
  remove_temporaries(checkpoints);
}

}  // namespace strait::io
