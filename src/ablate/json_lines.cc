#include "ablate/json_lines.h"

#include <fstream>
#include <string>

#include "core/error.h"

namespace strait::ablate {

std::vector<config::JsonTree> read_lines(const std::filesystem::path& path) {
  std::vector<config::JsonTree> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    try {
      lines.push_back(config::read_tree(line, path.string()));
    } catch (const core::InputError&) {
      break;
    }
  }
  return lines;
}

}  // namespace strait::ablate
