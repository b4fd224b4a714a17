#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/error.h"
#include "io/json_text.h"

namespace strait::io {
namespace {

constexpr std::size_t kMaxRank = 8;

struct RawEntry {
  TensorInfo info;
  std::array<std::uint64_t, 2> offsets{};
};

/// Receives the events of the JSON parser. The header has exactly three levels, so the state is one
/// word and hostile nesting is refused at its first bracket.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderParser(const std::string& origin) : origin_(origin) {}

  std::vector<RawEntry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override {
    return unexpected("the negative number " + std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return unexpected("the number " + printable(text) + " (not an integer below 2^64)");
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ == Where::shape) {
      auto& shape = entries.back().info.shape;
      if (shape.size() == kMaxRank) fail("shape has more than 8 dims");
      if (!std::in_range<std::int64_t>(value)) fail("a dim is 2^63 or more");
      shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (where_ != Where::offsets) return unexpected("a number");
    if (n_offsets_ == 2) fail("data_offsets must hold two numbers, got more");
    entries.back().offsets[n_offsets_++] = value;
    return true;
  }

  bool string(string_t& value) override {
    if (where_ == Where::metadata) {
      metadata[field_] = value;
    } else if (where_ == Where::tensor && field_ == "dtype") {
      entries.back().info.dtype = value;
    } else {
      return unexpected("the string " + printable(value));
    }
    return true;
  }

  bool key(string_t& value) override {
    std::set<std::string>& seen = where_ == Where::top ? names_ : fields_;
    if (!seen.insert(value).second) {
      fail((where_ == Where::top ? "tensor name " : "key ") + printable(value) + " is given twice");
    }
    if (where_ == Where::top) {
      name_ = value;
    } else if (where_ == Where::tensor && value != "dtype" && value != "shape" &&
               value != "data_offsets") {
      fail("unknown key " + printable(value) + ", expected dtype, shape and data_offsets");
    }
    field_ = value;
    return true;
  }

  bool start_object(std::size_t) override {
    if (where_ == Where::outside) {
      where_ = Where::top;
      return true;
    }
    if (where_ != Where::top) return unexpected("an object");
    fields_.clear();
    n_offsets_ = 0;
    where_ = name_ == "__metadata__" ? Where::metadata : Where::tensor;
    if (where_ == Where::tensor) entries.emplace_back().info.name = name_;
    return true;
  }

  bool end_object() override {
    if (where_ == Where::tensor) {
      if (fields_.size() != 3) fail("needs dtype, shape and data_offsets, one is missing");
      if (n_offsets_ != 2) fail("data_offsets must hold two numbers");
    }
    where_ = where_ == Where::top ? Where::outside : Where::top;
    name_.clear();
    return true;
  }

  bool start_array(std::size_t) override {
    if (where_ != Where::tensor || field_ == "dtype") return unexpected("an array");
    where_ = field_ == "shape" ? Where::shape : Where::offsets;
    return true;
  }

  bool end_array() override {
    where_ = Where::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    throw core::InputError(origin_ + ": the header is not valid JSON at byte " +
                           std::to_string(position) + "; the file is damaged or incomplete");
  }

 private:
  enum class Where { outside, top, metadata, tensor, shape, offsets };

  [[noreturn]] void fail(const std::string& message) const {
    throw core::InputError(origin_ + ": " + (name_.empty() ? "" : printable(name_) + ": ") +
                           message);
  }
  bool unexpected(const std::string& what) const {
    fail(what + " where the safetensors format has none" +
         (field_.empty() ? "" : " (under " + printable(field_) + ")"));
  }

  const std::string& origin_;
  Where where_ = Where::outside;
  std::string name_;   // key of the top level
  std::string field_;  // last key
  std::size_t n_offsets_ = 0;
  std::set<std::string> names_, fields_;
};

/// Elements times bytes of one, or nothing when that exceeds 64 bits.
bool byte_size(const TensorInfo& info, std::uint64_t& bytes) {
  bytes = safetensors_dtype_size(info.dtype);
  for (const std::int64_t size : info.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) return false;
  }
  return true;
}

void check_entry(const RawEntry& entry, std::uint64_t data_bytes, const std::string& origin) {
  const auto fail = [&](const std::string& message) {
    throw core::InputError(origin + ": " + printable(entry.info.name) + ": " + message);
  };
  const auto [begin, end] = entry.offsets;
  if (safetensors_dtype_size(entry.info.dtype) == 0) {
    fail("unknown dtype " + printable(entry.info.dtype));
  }
  if (begin > end) {
    fail("data_offsets run backwards, from " + std::to_string(begin) + " to " +
         std::to_string(end));
  }
  if (end > data_bytes) {
    fail("data_offsets end at byte " + std::to_string(end) + ", the file has " +
         std::to_string(data_bytes) + " bytes of data; it is damaged or incomplete");
  }
  std::uint64_t bytes = 0;
  if (!byte_size(entry.info, bytes)) fail("shape has more elements than 64 bits can count");
  if (bytes != end - begin) {
    fail("shape and dtype need " + std::to_string(bytes) + " bytes, data_offsets give " +
         std::to_string(end - begin));
  }
}

/// The tensors, sorted by offset, must follow each other exactly.
void check_layout(const std::vector<RawEntry>& entries, std::uint64_t data_bytes,
                  const std::string& origin) {
  std::uint64_t expected = 0;
  for (const RawEntry& entry : entries) {
    const auto [begin, end] = entry.offsets;
    if (begin != expected) {
      throw core::InputError(origin + ": " + printable(entry.info.name) + ": data begins at byte " +
                             std::to_string(begin) + (begin < expected ? ", inside" : ", after") +
                             " the previous tensor's end at " + std::to_string(expected) +
                             (begin < expected ? " (overlap)" : " (hole)"));
    }
    expected = end;
  }
  if (expected != data_bytes) {
    throw core::InputError(origin + ": " + std::to_string(data_bytes - expected) +
                           " bytes after the last tensor belong to none");
  }
}

}  // namespace

std::size_t safetensors_dtype_size(std::string_view dtype) {
  static constexpr std::pair<std::string_view, std::size_t> kSizes[] = {
      {"F64", 8},     {"F32", 4}, {"BF16", 2}, {"F16", 2}, {"F8_E4M3", 1},
      {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4},  {"I16", 2}, {"I8", 1},
      {"U64", 8},     {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1},
  };
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& origin) {
  if (text.empty() || text.front() != '{') {
    throw core::InputError(origin + ": the header does not start with '{'; not a safetensors file");
  }
  if (text.find('\0') != text.npos) {  // which the parser would take for the end
    throw core::InputError(origin + ": the header is not valid JSON, it contains a zero byte");
  }
  HeaderParser parser(origin);
  nlohmann::json::sax_parse(text, &parser);
  std::vector<RawEntry>& raw = parser.entries;
  for (const RawEntry& entry : raw) check_entry(entry, data_bytes, origin);
  std::sort(raw.begin(), raw.end(),
            [](const RawEntry& a, const RawEntry& b) { return a.offsets < b.offsets; });
  check_layout(raw, data_bytes, origin);

  SafetensorsHeader header{.entries = {}, .metadata = std::move(parser.metadata)};
  for (RawEntry& entry : raw) {
    entry.info.bytes = static_cast<std::size_t>(entry.offsets[1] - entry.offsets[0]);
    header.entries.push_back({std::move(entry.info), entry.offsets[0]});
  }
  return header;
}

}  // namespace strait::io
