#pragma once

#include <filesystem>
#include <vector>

#include "config/json_tree.h"

namespace strait::ablate {

/// The objects of a file with one on each line, such as metrics.jsonl. A line cut off by a crash
/// ends them; none without a file.
std::vector<config::JsonTree> read_lines(const std::filesystem::path& path);

}  // namespace strait::ablate
