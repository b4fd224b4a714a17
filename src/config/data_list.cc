#include "config/data_list.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "config/load.h"

namespace strait::config {
namespace {

namespace fs = std::filesystem;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

DataPart data_part(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string_view::npos) return {.path = std::string(text)};
  const std::string_view number = trimmed(text.substr(equals + 1));
  double share = 0;
  const auto [end, error] = std::from_chars(number.begin(), number.end(), share);
  const bool read = error == std::errc() && end == number.end() && std::isfinite(share);
  if (!read || share <= 0) return {.path = std::string(text)};
  return {.path = std::string(trimmed(text.substr(0, equals))), .share = share};
}

}  // namespace

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string_view text = trimmed(std::string_view(list).substr(begin, end - begin));
    if (!text.empty()) parts.emplace_back(text);
    begin = end + 1;
  }
  return parts;
}

std::vector<DataPart> data_parts(const std::string& list) {
  std::vector<DataPart> parts;
  for (const std::string& part : split_list(list)) parts.push_back(data_part(part));
  return parts;
}

std::string data_list(const std::vector<DataPart>& parts) {
  std::string list;
  for (const DataPart& part : parts) {
    if (!list.empty()) list += ", ";
    list += part.path;
    if (part.share == 0) continue;
    char number[32];
    const auto end = std::to_chars(std::begin(number), std::end(number), part.share).ptr;
    list.append("=").append(number, end);
  }
  return list;
}

bool is_pattern(const std::string& path) {
  return fs::path(path).filename().string().find_first_of("*?") != std::string::npos;
}

std::vector<fs::path> matching_files(const std::string& path) {
  std::error_code ignored;
  std::vector<fs::path> found;
  if (!is_pattern(path)) {
    if (fs::exists(locate(path), ignored)) found.push_back(locate(path));
    return found;
  }
  const fs::path pattern(path);
  const std::string parent = pattern.has_parent_path() ? pattern.parent_path().string() : ".";
  for (const auto& entry : fs::directory_iterator(locate(parent), ignored)) {
    const fs::path name = entry.path().filename();
    if (::fnmatch(pattern.filename().c_str(), name.c_str(), 0) == 0) found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

std::string why_no_data(const std::string& path) {
  if (matching_files(path).empty()) {
    return "no such file, neither from the current folder nor in the source tree; expected a .txt "
           "file or a token shard, such as data/sample.txt";
  }
  std::error_code ignored;
  if (!fs::is_directory(locate(path), ignored)) return {};
  return "is a folder; expected a .txt file or token shards, such as " + path + "/*.tok";
}

}  // namespace strait::config
