#include <string>

#include "config/load.h"
#include "core/error.h"

// A config is refused, or resolved to one that reads back as itself.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // A base would be looked for on the disk.
  if (text.find("extends") != std::string::npos || text.find('\\') != std::string::npos) return 0;
  try {
    const strait::config::Config config = strait::config::read_text(text, "fuzz", {});
    const std::string once = strait::config::to_json(config);
    if (strait::config::to_json(strait::config::read_text(once, "again", {})) != once) {
      std::abort();
    }
    strait::config::validate(config, "fuzz");
  } catch (const strait::core::InputError&) {
  }
  return 0;
}
