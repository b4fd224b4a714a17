#include <cstdlib>
#include <string>

#include "core/error.h"
#include "core/hash.h"
#include "io/manifest.h"

namespace {

using namespace strait;

void read(const std::string& text) {
  try {
    const io::Manifest manifest = io::parse_manifest(text, "fuzz");
    // What was accepted is written and read as the same.
    const io::Manifest again = io::parse_manifest(io::manifest_text(manifest), "again");
    if (!(again.state == manifest.state) || again.tensors.size() != manifest.tensors.size()) {
      std::abort();
    }
  } catch (const core::InputError&) {
  }
}

}  // namespace

// As it stands, and as the body of a manifest whose checksum is right.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  const std::string hash = core::hash_text(core::hash_of(text));
  read(text.append(",\n  \"checksum\": \"xxh3:").append(hash).append("\"\n}\n"));
  return 0;
}
