#include "input/text/document_reader.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "config/data_list.h"
#include "core/error.h"
#include "input/text_source.h"

namespace strait::input {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 1 << 20;

enum class Kind { none, json_lines, text };

Kind kind_of(const fs::path& path) {
  fs::path name = path.filename();
  if (name.extension() == ".xz" || name.extension() == ".zst") name.replace_extension();
  const std::string kind = name.extension().string();
  if (kind == ".jsonl" || kind == ".json" || kind == ".ndjson") return Kind::json_lines;
  return kind == ".txt" ? Kind::text : Kind::none;
}

/// Keeps the string under one key of the outermost object and builds nothing else.
class KeyReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit KeyReader(const std::string& wanted) : wanted_(wanted) {}
  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool string(string_t& text) override {
    if (depth_ == 1 && here_) found = true, result = std::move(text);
    return value();
  }
  bool key(string_t& name) override {
    here_ = depth_ == 1 && name == wanted_;
    return true;
  }
  bool start_object(std::size_t) override { return ++depth_ < kDeepest; }
  bool start_array(std::size_t) override { return depth_ > 0 && ++depth_ < kDeepest; }
  bool end_object() override { return --depth_, value(); }
  bool end_array() override { return --depth_, value(); }
  bool parse_error(std::size_t at, const std::string&,
                   const nlohmann::detail::exception& e) override {
    const bool encoding = std::string_view(e.what()).find("UTF-8") != std::string_view::npos;
    error = (encoding ? "got bytes that are no UTF-8 at byte " : "got invalid JSON at byte ") +
            std::to_string(at);
    return false;
  }

  bool found = false;
  std::string result, error;

 private:
  static constexpr int kDeepest = 64;
  bool value() {
    here_ = false;
    return true;
  }
  const std::string& wanted_;
  int depth_ = 0;
  bool here_ = false;
};

}  // namespace

std::string text_of(const RawDocument& raw, const std::string& key) {
  if (!raw.json) return raw.bytes;
  KeyReader reader(key);
  const bool read = nlohmann::json::sax_parse(raw.bytes, &reader);
  if (read && reader.found) return std::move(reader.result);
  const std::string expected =
      raw.place + ": expected a JSON object with a string \"" + key + "\", ";
  if (read) throw core::InputError(expected + "which it lacks; --text-key names another key");
  throw core::InputError(
      expected + (reader.error.empty() ? "got another value, or one too deep" : reader.error) +
      "; mend or remove the line");
}

DocumentReader::DocumentReader(std::vector<fs::path> files)
    : files_(std::move(files)), buffer_(kBufferBytes) {
  for (const fs::path& file : files_) {
    if (kind_of(file) == Kind::none) {
      throw core::InputError(file.string() +
                             ": expected a name in .jsonl, .json, .ndjson or .txt, with .xz or "
                             ".zst after it if it is compressed");
    }
    std::error_code failed;
    const auto bytes = fs::file_size(file, failed);
    if (failed) throw core::InputError(file.string() + ": cannot read: " + failed.message());
    total_ += bytes;
  }
}

/// The next line of the current file without its break; false at its end.
bool DocumentReader::next_line(std::string& line) {
  line.clear();
  while (true) {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = stream_->read(buffer_.data(), buffer_.size());
      consumed_ = consumed_before_ + stream_->consumed();
      if (end_ == 0) return !line.empty();
    }
    const char* from = buffer_.data() + begin_;
    const auto* stop = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_));
    line.append(from, stop ? stop : buffer_.data() + end_);
    begin_ = stop ? static_cast<std::size_t>(stop - buffer_.data()) + 1 : end_;
    if (!stop) continue;
    ++line_;
    if (line.ends_with('\r')) line.pop_back();
    return true;
  }
}

/// Lines up to a separator or the end of the file.
bool DocumentReader::next_text(RawDocument& out) {
  std::string line;
  for (bool more = true; more;) {
    more = next_line(line);
    if (more && line != kDocumentSeparator) {
      out.bytes.append(line).push_back('\n');
      continue;
    }
    if (!out.bytes.empty()) out.bytes.pop_back();  // the break of its last line
    if (out.bytes.find_first_not_of('\n') != std::string::npos) return true;
    out.bytes.clear();
  }
  return false;
}

bool DocumentReader::next(RawDocument& out) {
  for (; file_ < files_.size(); ++file_) {
    const fs::path& path = files_[file_];
    if (!stream_) {
      stream_ = open_bytes(path);
      line_ = 0;
    }
    out = {.bytes = {}, .place = {}, .json = kind_of(path) == Kind::json_lines};
    const auto blank = [&] { return out.bytes.find_first_not_of(" \t") == std::string::npos; };
    bool found = false;
    if (out.json) {
      while ((found = next_line(out.bytes)) && blank()) {
      }
    } else {
      found = next_text(out);
    }
    if (found) {
      out.place = path.string() + ":" + std::to_string(line_);
      return true;
    }
    consumed_before_ += stream_->consumed();
    stream_.reset();
  }
  return false;
}

std::vector<fs::path> text_files(const std::string& path) {
  std::error_code ignored;
  std::vector<fs::path> found = config::matching_files(path);
  if (found.size() == 1 && fs::is_directory(found[0], ignored)) {
    const fs::path folder = found[0];
    found.clear();
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (kind_of(entry.path()) != Kind::none) found.push_back(entry.path());
    }
    std::ranges::sort(found);
  }
  if (!found.empty()) return found;
  throw core::InputError(path +
                         ": no such text; expected a file, a pattern such as '*.jsonl.xz', "
                         "or a folder of .jsonl, .json, .ndjson or .txt files");
}

}  // namespace strait::input
