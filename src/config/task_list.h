#pragma once

#include <string>
#include <utility>
#include <vector>

namespace strait::config {

/// "hellaswag=val.jsonl, piqa=valid.jsonl": names and files of eval.tasks. A part without "=" has
/// an empty file.
std::vector<std::pair<std::string, std::string>> task_list(const std::string& list);

}  // namespace strait::config
