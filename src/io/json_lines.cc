#include "io/json_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "io/json_text.h"

namespace strait::io {
namespace {

/// A JSON string; bytes that are not UTF-8 become the replacement character.
std::string escaped(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 32> digits;
  const auto [end, error] = std::to_chars(digits.begin(), digits.end(), value);
  std::string text(digits.data(), end);
  // Without a point readers take a whole number for an integer and lose the sign of -0.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

JsonLine& JsonLine::add_raw(std::string_view key, std::string_view value) {
  if (!body_.empty()) body_ += ", ";
  body_ += escaped(key) + ": ";
  body_ += value;
  return *this;
}

JsonLine& JsonLine::add(std::string_view key, double value) {
  return add_raw(key, number(value));
}

JsonLine& JsonLine::add(std::string_view key, const std::vector<double>& values) {
  std::string list;
  for (const double value : values) list += (list.empty() ? "" : ", ") + number(value);
  return add_raw(key, "[" + list + "]");
}

JsonLine& JsonLine::add(std::string_view key, std::string_view value) {
  return add_raw(key, escaped(value));
}

JsonLine& JsonLine::add(std::string_view key, const JsonLine& object) {
  return add_raw(key, object.text());
}

JsonLine& JsonLine::add(std::string_view key, const std::vector<JsonLine>& objects) {
  std::string list;
  for (const JsonLine& object : objects) list += (list.empty() ? "" : ", ") + object.text();
  return add_raw(key, "[" + list + "]");
}

JsonLinesWriter::JsonLinesWriter(const std::filesystem::path& path, std::int64_t keep_bytes)
    : path_(path.string()), offset_(keep_bytes) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) core::fail_to("open", path_, errno);
  struct stat status {};
  const bool known = ::fstat(fd_, &status) == 0;
  const bool enough = known && keep_bytes >= 0 && status.st_size >= keep_bytes;
  if (enough && ::ftruncate(fd_, keep_bytes) == 0 && ::lseek(fd_, keep_bytes, SEEK_SET) >= 0) {
    return;
  }
  const int error = errno;
  ::close(fd_);
  errno = error;
  if (!known || enough) core::fail_to("position", path_, errno);
  throw core::InputError(path_ + ": has " + std::to_string(status.st_size) +
                         " bytes, the checkpoint was made when it had " +
                         std::to_string(keep_bytes) + "; restore the file or start a new run");
}

JsonLinesWriter::~JsonLinesWriter() {
  ::close(fd_);
}

void JsonLinesWriter::write(const JsonLine& line) {
  const std::string text = line.text() + "\n";
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // Half a line would spoil the file for its readers.
      if (::ftruncate(fd_, offset_) == 0) ::lseek(fd_, offset_, SEEK_SET);
      errno = error;
      core::fail_to("write", path_, errno);
    }
    done += static_cast<std::size_t>(count);
  }
  offset_ += static_cast<std::int64_t>(text.size());
}

void JsonLinesWriter::sync() const {
  if (::fsync(fd_) != 0) core::fail_to("flush", path_, errno);
  struct stat status {};
  if (::fstat(fd_, &status) == 0 && status.st_nlink > 0) return;
  throw core::RuntimeFault(path_ + ": was removed");
}

std::vector<double> read_series(const std::filesystem::path& path, const std::string& key,
                                const std::string& unless) {
  std::istringstream lines(core::read_file(path));
  std::vector<double> values;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string origin = path.string() + " line " + std::to_string(number);
    const nlohmann::json object = parse_json(line, origin);
    if (!object.is_object()) throw core::InputError(origin + ": expected an object");
    const auto found = object.find(key);
    if (found == object.end() || object.contains(unless)) continue;
    if (!found->is_number() && !found->is_null()) {
      throw core::InputError(origin + ": " + printable(key) + " is not a number");
    }
    values.push_back(found->is_null() ? std::numeric_limits<double>::quiet_NaN()
                                      : found->get<double>());
  }
  return values;
}

void write_json_file(const std::filesystem::path& path, const JsonLine& object) {
  const auto parsed = nlohmann::ordered_json::parse(object.text());
  core::write_file_atomically(path, [&](std::ostream& out) { out << parsed.dump(2) << "\n"; });
}

}  // namespace strait::io
