#include "config/task_list.h"

#include "config/data_list.h"

namespace strait::config {

std::vector<std::pair<std::string, std::string>> task_list(const std::string& list) {
  std::vector<std::pair<std::string, std::string>> tasks;
  for (const std::string& part : split_list(list)) {
    const std::size_t equals = part.find('=');
    const bool named = equals != std::string::npos;
    tasks.emplace_back(part.substr(0, equals), named ? part.substr(equals + 1) : "");
  }
  return tasks;
}

}  // namespace strait::config
