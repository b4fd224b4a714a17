#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

// One JSON object a line: metrics.jsonl and its relatives.
namespace strait::io {

/// Builds a one-line JSON object, keys in the order they are added. Numbers are written in the
/// shortest form that reads back to the same value (doubles with a point or exponent); NaN and
/// infinities, which JSON lacks, as null.
class JsonLine {
 public:
  JsonLine& add(std::string_view key, double value);
  JsonLine& add(std::string_view key, std::string_view value);
  JsonLine& add(std::string_view key, const char* value) {
    return add(key, std::string_view(value));
  }
  template <std::integral Integer>
  JsonLine& add(std::string_view key, Integer value) {
    if constexpr (std::same_as<Integer, bool>) return add_raw(key, value ? "true" : "false");
    return add_raw(key, std::to_string(value));
  }
  JsonLine& add(std::string_view key, const JsonLine& object);
  JsonLine& add(std::string_view key, const std::vector<JsonLine>& objects);
  JsonLine& add(std::string_view key, const std::vector<double>& values);
  /// The object, without a line break.
  std::string text() const { return "{" + body_ + "}"; }

 private:
  JsonLine& add_raw(std::string_view key, std::string_view value);
  std::string body_;
};

/// Appends lines to a file, each reaching the operating system before write() returns. Owns the
/// file. Throws RuntimeFault when it cannot be written.
class JsonLinesWriter {
 public:
  /// Keeps the first `keep_bytes` of the file and cuts off the rest, so that a resumed run repeats
  /// no line. Throws InputError when the file is shorter than that.
  JsonLinesWriter(const std::filesystem::path& path, std::int64_t keep_bytes);
  ~JsonLinesWriter();
  JsonLinesWriter(const JsonLinesWriter&) = delete;
  JsonLinesWriter& operator=(const JsonLinesWriter&) = delete;

  void write(const JsonLine& line);
  /// Flushes what was written to the disk. Throws RuntimeFault also when the file was removed.
  void sync() const;
  /// Bytes in the file after the last line: what a checkpoint remembers.
  std::int64_t offset() const { return offset_; }

 private:
  std::string path_;
  int fd_ = -1;
  std::int64_t offset_ = 0;
};

/// The values of `key` in every line that has it, and has no `unless`, in order; null reads as NaN.
/// Throws InputError on a line that is not an object, or a value that is not a number, with its
/// line number.
std::vector<double> read_series(const std::filesystem::path& path, const std::string& key,
                                const std::string& unless = "");

/// Writes one object as an indented JSON file, whole or not at all (provenance.json).
void write_json_file(const std::filesystem::path& path, const JsonLine& object);

}  // namespace strait::io
