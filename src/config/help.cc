#include <string>

#include "config/load.h"
#include "config/schema.h"

namespace strait::config {
namespace {

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string line_of(const Key& key) {
  const std::string standard = key.required ? "required" : "default " + show(default_of(key));
  std::string line =
      "  " + padded(key.path, 36) + "  " + padded(standard, 18) + "  " + expected(key);
  if (!key.unit.empty()) line += "; unit: " + std::string(key.unit);
  return line + "\n      " + std::string(key.meaning) + "\n";
}

}  // namespace

std::string help_text() {
  std::string text =
      "A config is a JSON object of sections; each key is written below its section, so\n"
      "train.steps is {\"train\": {\"steps\": 100}}. \"extends\": \"<config>\" starts from "
      "another\n"
      "config, one level deep. On the command line: --set train.steps=100.\n";
  std::string section;
  for (const Key& key : schema()) {
    const std::string here = key.path.substr(0, key.path.find('.'));
    if (here != section) text += "\n" + here + "\n";
    section = here;
    text += line_of(key);
  }
  return text;
}

}  // namespace strait::config
