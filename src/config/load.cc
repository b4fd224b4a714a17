#include "config/load.h"

#include <set>
#include <string_view>
#include <system_error>

#include "config/nearest.h"
#include "config/parse.h"
#include "config/read_json.h"
#include "config/reject.h"
#include "config/schema.h"
#include "core/files.h"

namespace strait::config {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuffix = ".json";

/// The nearest name among the JSON files of the folders, for messages; empty when they hold none.
std::string nearest_file(const std::string& name, const std::vector<fs::path>& folders) {
  std::set<std::string> found;
  for (const fs::path& folder : folders) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (entry.path().extension() == kSuffix) found.insert(entry.path().filename().string());
    }
  }
  if (found.empty()) return {};
  const std::vector<std::string_view> names(found.begin(), found.end());
  return std::string(nearest_word(fs::path(name).filename().string(), names));
}

fs::path find_config(const std::string& name, const fs::path& first, const std::string& asker) {
  return find_json(name, first, "configs", asker, "config");
}

Text read_config(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (!error && bytes > kMaxJsonBytes) {
    reject(path.string(), "is " + std::to_string(bytes) + " bytes; a config has at most " +
                              std::to_string(kMaxJsonBytes));
  }
  return {core::read_file(path), path.string()};
}

/// Sets keys of the config. They come from `origin`; where it is empty, each from a --set.
void override_keys(Config& config, const std::vector<std::string>& assignments,
                   const std::string& origin, Origins* origins) {
  for (const std::string& assignment : assignments) {
    const std::vector<std::string> keys = parse_override(config, assignment);
    if (origins) origins->set(keys, origin.empty() ? origin_of_override(assignment) : origin);
  }
}

Text find_base(const std::string& name, const std::string& origin) {
  return read_config(find_config(name, fs::path(origin).parent_path(), origin + ": extends"));
}

}  // namespace

fs::path find_json(const std::string& name, const fs::path& first, const fs::path& home,
                   const std::string& asker, const std::string& what) {
  const std::vector<fs::path> folders = {first, home, fs::path(STRAIT_SOURCE_DIR) / home};
  for (const fs::path& folder : folders) {
    for (const char* suffix : {"", kSuffix}) {
      const fs::path path = folder / (name + suffix);
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) return path.lexically_normal();
    }
  }
  const std::string nearest = nearest_file(name, folders);
  reject(asker, "no " + what + " " + show(name) +
                    "; expected a path of a JSON file, or the name of one in " + home.string() +
                    "/" + (nearest.empty() ? "" : "; nearest is " + nearest));
}

std::string origin_of(const Source& source) {
  if (source.name.empty()) {
    reject("--config", "missing; expected a config such as --config quickstart.json");
  }
  return find_config(source.name, {}, "--config").string();
}

Config read_text(const std::string& json, const std::string& origin,
                 const std::vector<std::string>& overrides, Origins* origins) {
  Config config;
  parse_into(config, {json, origin}, find_base, origins);
  override_keys(config, overrides, "", origins);
  return config;
}

Config read(const Source& source, Origins* origins) {
  const Text text = read_config(origin_of(source));
  Config config = read_text(text.json, text.origin, {}, origins);
  override_keys(config, source.preset.assignments, source.preset.origin, origins);
  override_keys(config, source.overrides, "", origins);
  return config;
}

Config load_text(const std::string& json, const std::string& origin,
                 const std::vector<std::string>& overrides, std::int64_t ranks) {
  Origins origins = origin;
  const Config config = read_text(json, origin, overrides, &origins);
  validate(config, origins);
  return resolve(config, {.ranks = ranks}, origins);
}

Config load(const Source& source, std::int64_t ranks) {
  Origins origins = origin_of(source);
  const Config config = read(source, &origins);
  validate(config, origins);
  return resolve(config, {.ranks = ranks}, origins);
}

fs::path locate(const std::string& path) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) return path;
  const fs::path in_tree = fs::path(STRAIT_SOURCE_DIR) / path;
  return fs::exists(in_tree, ignored) ? in_tree : fs::path(path);
}

}  // namespace strait::config
