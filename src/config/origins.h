#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strait::config {

/// Where the values of a config come from, as messages say it: the file (which also gives the run
/// its name), the one that it extends, or the --set that a key was last set by.
class Origins {
 public:
  Origins(std::string file) : file_(std::move(file)) {}
  Origins(const char* file) : file_(file) {}

  void set(const std::vector<std::string>& keys, const std::string& origin) {
    for (const std::string& key : keys) of_[key] = origin;
  }

  const std::string& file() const { return file_; }

  /// Of the value of a key, by its dotted path.
  const std::string& of(std::string_view key) const {
    const auto at = of_.find(key);
    return at == of_.end() ? file_ : at->second;
  }

 private:
  std::string file_;
  std::map<std::string, std::string, std::less<>> of_;
};

}  // namespace strait::config
