#include "ablate/fields.h"

#include <algorithm>
#include <cmath>

#include "config/nearest.h"
#include "config/reject.h"
#include "config/schema.h"

namespace strait::ablate {

using config::JsonTree;
using Kind = JsonTree::Kind;

Fields::Fields(const JsonTree& object, std::string path, std::string origin,
               const std::vector<std::string_view>& known)
    : object_(object), path_(std::move(path)), origin_(std::move(origin)) {
  if (!object.is(Kind::object)) {
    config::reject(origin_, path_.empty() ? "the whole" : path_, config::printable(to_text(object)),
                   "expected an object; got " + object.kind_name());
  }
  for (const auto& [name, value] : object.members()) {
    if (std::ranges::find(known, name) != known.end()) continue;
    config::reject(origin_, config::printable(path_of(name)) + ": unknown key; nearest is " +
                                path_of(config::nearest_word(name, known)));
  }
}

std::string Fields::path_of(std::string_view name) const {
  return (path_.empty() ? "" : path_ + ".") + std::string(name);
}

void Fields::refuse(std::string_view name, const std::string& expectation) const {
  const JsonTree* value = object_.find(name);
  const std::string shown = value ? config::printable(to_text(*value)) : "(not given)";
  config::reject(origin_, path_of(name), shown, expectation);
}

const JsonTree& Fields::required(std::string_view name, const std::string& meaning) const {
  if (const JsonTree* value = object_.find(name)) return *value;
  config::reject(origin_, path_of(name) + ": missing; expected " + meaning);
}

std::string Fields::text(std::string_view name, const std::string& otherwise) const {
  const JsonTree* value = object_.find(name);
  if (!value) return otherwise;
  if (!value->is(Kind::text)) refuse(name, "expected text; got " + value->kind_name());
  return value->text();
}

bool Fields::boolean(std::string_view name, bool otherwise) const {
  const JsonTree* value = object_.find(name);
  if (!value) return otherwise;
  if (!value->is(Kind::boolean)) refuse(name, "expected true or false; got " + value->kind_name());
  return value->boolean();
}

double Fields::number(std::string_view name, double otherwise, double low, bool open) const {
  const JsonTree* value = object_.find(name);
  if (!value) return otherwise;
  const double number = value->number();
  const bool fits = value->is(Kind::number) && (open ? number > low : number >= low);
  if (!fits) {
    refuse(name,
           std::string("expected a number") + (open ? " > " : " >= ") + to_text(JsonTree(low)));
  }
  return number;
}

std::vector<std::string> Fields::texts(std::string_view name) const {
  std::vector<std::string> list;
  const JsonTree* value = object_.find(name);
  if (!value) return list;
  const bool texts =
      value->is(Kind::array) &&
      std::ranges::all_of(value->items(), [](const auto& i) { return i.is(Kind::text); });
  if (!texts) refuse(name, "expected a list of texts");
  for (const JsonTree& item : value->items()) list.push_back(item.text());
  return list;
}

std::size_t Fields::index_of(std::string_view name, std::span<const std::string_view> words,
                             std::size_t otherwise) const {
  if (!has(name)) return otherwise;
  const std::string given = text(name);
  const auto at = std::ranges::find(words, given);
  if (at != words.end()) return static_cast<std::size_t>(at - words.begin());
  std::string list;
  for (const std::string_view word : words) {
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  refuse(name, "expected one of " + list + "; nearest is " +
                   std::string(config::nearest_word(given, words)));
}

std::optional<std::int64_t> whole(const JsonTree& value, std::int64_t low) {
  const double number = value.number();
  const bool fits = value.is(Kind::number) && std::floor(number) == number && number < 0x1p53 &&
                    number >= static_cast<double>(low);
  if (!fits) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

bool is_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
  };
  return !text.empty() && text.front() != '.' && std::ranges::all_of(text, allowed);
}

}  // namespace strait::ablate
