#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "input/text/byte_stream.h"

namespace strait::input {

/// A document as it stands in a file, not yet decoded, so that threads can share that work.
struct RawDocument {
  std::string bytes;
  std::string place;  // "file:line", for messages
  bool json = false;  // a JSON object with the text under a key; else the text itself
};

/// Text of a raw document. Throws InputError naming the place when it is no JSON object or has no
/// string under `key`.
std::string text_of(const RawDocument& raw, const std::string& key);

/// Documents of one file after another, in constant memory. Known by their names, without a final
/// .xz or .zst: .jsonl, .json and .ndjson hold a JSON object a line, .txt documents as
/// text_source.h has them.
class DocumentReader {
 public:
  /// Throws InputError when a file is of neither kind.
  explicit DocumentReader(std::vector<std::filesystem::path> files);

  /// The next document that is not blank; false at the end.
  bool next(RawDocument& out);
  /// Bytes of the files taken in so far, as they lie on disk, and in all. From any thread.
  std::uint64_t consumed() const { return consumed_; }
  std::uint64_t total() const { return total_; }

 private:
  bool next_line(std::string& line);
  bool next_text(RawDocument& out);

  std::vector<std::filesystem::path> files_;
  std::size_t file_ = 0;                // being read
  std::unique_ptr<ByteStream> stream_;  // of it; null: not open
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of the buffer
  std::int64_t line_ = 0;
  std::uint64_t consumed_before_ = 0;
  std::atomic<std::uint64_t> consumed_ = 0;
  std::uint64_t total_ = 0;
};

/// The text files that `path` stands for: itself, those that match its pattern, or those of a
/// folder that have a known name. Sorted. Throws InputError when there is none.
std::vector<std::filesystem::path> text_files(const std::string& path);

}  // namespace strait::input
