#include "input/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace strait::input {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw core::InputError(path.string() + ": cannot read: " + why);
}

std::uint64_t file_size(int file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file, &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file; name a token shard or a .txt file");
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path)
    : path_(std::move(path)),
      // O_NONBLOCK: a pipe is refused below, not waited for.
      file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (file_ < 0) fail(path_, std::strerror(errno));
  try {
    size_ = file_size(file_, path_);
    if (size_ == 0) return;  // nothing to map
    void* at = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
    if (at == MAP_FAILED) fail(path_, std::strerror(errno));
    data_ = static_cast<const unsigned char*>(at);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<unsigned char*>(data_), size_);
  ::close(file_);
}

std::span<const unsigned char> MappedFile::bytes(std::uint64_t offset, std::uint64_t count) const {
  const std::uint64_t now = file_size(file_, path_);
  if (offset > now || count > now - offset) {
    fail(path_, "ends at byte " + std::to_string(now) + "; it shrank while in use");
  }
  return {data_ + offset, count};
}

void MappedFile::require(bool ok, std::string_view field, const std::string& expected,
                         const std::string& got, const std::string& remedy) const {
  if (ok) return;
  throw core::InputError(path_.string() + ": " + std::string(field) + ": expected " + expected +
                         ", got " + got + "; " + remedy);
}

std::string quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  return out + "\"";
}

}  // namespace strait::input
