#include "core/process_memory.h"

#include <fstream>
#include <string>

namespace strait::core {
namespace {

/// Value of "key:  123 kB" in a file of /proc, in bytes.
std::size_t read_kib(const char* path, const std::string& key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

}  // namespace

std::size_t resident_bytes() {
  return read_kib("/proc/self/status", "VmRSS");
}
std::size_t peak_resident_bytes() {
  return read_kib("/proc/self/status", "VmHWM");
}
std::size_t available_bytes() {
  return read_kib("/proc/meminfo", "MemAvailable");
}

}  // namespace strait::core
