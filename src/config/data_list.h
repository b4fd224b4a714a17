#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace strait::config {

/// A dataset of data.train or data.val.
struct DataPart {
  std::string path;  // a file, or a pattern with '*' or '?' in its last component
  double share = 0;  // of the training tokens, relative to the other datasets'; 0: not given

  bool operator==(const DataPart&) const = default;
};

/// The parts of a list apart by commas, without the blanks around them and without empty ones.
std::vector<std::string> split_list(const std::string& list);

/// "web-*.tok=0.7, code.tok=0.3": paths apart by commas, each with "=share" or without. A "=" that
/// no positive number follows belongs to the path.
std::vector<DataPart> data_parts(const std::string& list);

/// The list that data_parts() reads as `parts`.
std::string data_list(const std::vector<DataPart>& parts);

bool is_pattern(const std::string& path);

/// The files that a part's path stands for, located (load.h) and sorted by name; may be none.
std::vector<std::filesystem::path> matching_files(const std::string& path);

/// Why a part's path names no data, and what would; "" where it names some.
std::string why_no_data(const std::string& path);

}  // namespace strait::config
