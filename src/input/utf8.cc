#include "input/utf8.h"

#include <algorithm>
#include <clocale>
#include <cwctype>
#include <functional>

namespace strait::input {
namespace {

bool continues(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

std::uint32_t code_point(std::string_view letter) {
  const auto lead = static_cast<unsigned char>(letter[0]);
  std::uint32_t point = letter.size() == 1 ? lead : lead & (0x7Fu >> letter.size());
  for (const char byte : letter.substr(1)) {
    point = point << 6 | (static_cast<unsigned char>(byte) & 63);
  }
  return point;
}

std::string utf8(std::uint32_t point) {
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  std::string out(1, static_cast<char>((0xFF00u >> (more + 1)) | point >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) {
    out.push_back(static_cast<char>(0x80 | (point >> (6 * i) & 63)));
  }
  return out;
}

/// Length of the code point that begins at `at`.
std::size_t length_at(std::string_view text, std::size_t at) {
  std::size_t end = at + 1;
  while (end < text.size() && continues(text[end])) ++end;
  return end - at;
}

bool is_blank(std::string_view letter) {
  const std::uint32_t c = code_point(letter);
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

/// Letters of other cases, in the C library's table for Unicode.
class UnicodeCase {
 public:
  UnicodeCase() : table_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~UnicodeCase() {
    if (table_) ::freelocale(table_);
  }
  UnicodeCase(const UnicodeCase&) = delete;
  UnicodeCase& operator=(const UnicodeCase&) = delete;
  std::uint32_t change(std::uint32_t point, bool upper) const {
    if (!table_) return point;
    return upper ? ::towupper_l(point, table_) : ::towlower_l(point, table_);
  }

 private:
  ::locale_t table_;
};

}  // namespace

std::int64_t code_points(std::string_view text) {
  return std::ranges::count_if(text, std::not_fn(continues));
}

std::size_t trailing_blanks(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && continues(text[begin])) --begin;
    if (!is_blank(text.substr(begin, end - begin))) break;
    end = begin;
  }
  return text.size() - end;
}

std::string strip(std::string_view text) {
  text.remove_suffix(trailing_blanks(text));
  while (!text.empty() && is_blank(text.substr(0, length_at(text, 0)))) {
    text.remove_prefix(length_at(text, 0));
  }
  return std::string(text);
}

std::string capitalize(std::string_view text) {
  const UnicodeCase cases;
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = length_at(text, at);
    out += utf8(cases.change(code_point(text.substr(at, length)), at == 0));
    at += length;
  }
  return out;
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace strait::input
