#include "config/json_tree.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "config/read_json.h"

namespace strait::config {
namespace {

using nlohmann::ordered_json;

constexpr double kExact = 9007199254740992.0;  // 2^53: every integer up to here is a double

JsonTree tree_of(const ordered_json& value) {
  switch (value.type()) {
    case ordered_json::value_t::boolean:
      return value.get<bool>();
    case ordered_json::value_t::string:
      return value.get<std::string>();
    case ordered_json::value_t::array: {
      JsonTree tree = JsonTree::array();
      for (const ordered_json& item : value) tree.append(tree_of(item));
      return tree;
    }
    case ordered_json::value_t::object: {
      JsonTree tree = JsonTree::object();
      for (const auto& [name, member] : value.items()) tree.set(name, tree_of(member));
      return tree;
    }
    default:
      return value.is_number() ? JsonTree(value.get<double>()) : JsonTree();
  }
}

ordered_json json_of(const JsonTree& tree) {
  switch (tree.kind()) {
    case JsonTree::Kind::null:
      return nullptr;
    case JsonTree::Kind::boolean:
      return tree.boolean();
    case JsonTree::Kind::number: {
      const double number = tree.number();
      const bool whole = std::floor(number) == number && std::abs(number) <= kExact;
      if (whole) return static_cast<std::int64_t>(number);
      return number;
    }
    case JsonTree::Kind::text:
      return tree.text();
    case JsonTree::Kind::array: {
      ordered_json value = ordered_json::array();
      for (const JsonTree& item : tree.items()) value.push_back(json_of(item));
      return value;
    }
    case JsonTree::Kind::object:
      break;
  }
  ordered_json value = ordered_json::object();
  for (const auto& [name, member] : tree.members()) value[name] = json_of(member);
  return value;
}

}  // namespace

JsonTree::JsonTree(bool value) : kind_(Kind::boolean), boolean_(value) {}
JsonTree::JsonTree(double value) : kind_(Kind::number), number_(value) {}
JsonTree::JsonTree(std::string value) : kind_(Kind::text), text_(std::move(value)) {}

JsonTree JsonTree::array(std::vector<JsonTree> items) {
  JsonTree tree;
  tree.kind_ = Kind::array;
  tree.items_ = std::move(items);
  return tree;
}

JsonTree JsonTree::object() {
  JsonTree tree;
  tree.kind_ = Kind::object;
  return tree;
}

std::string JsonTree::kind_name() const {
  switch (kind_) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "true or false";
    case Kind::number:
      return "a number";
    case Kind::text:
      return "text";
    case Kind::array:
      return "a list";
    case Kind::object:
      break;
  }
  return "an object";
}

const JsonTree* JsonTree::find(std::string_view name) const {
  const auto at = std::ranges::find(members_, name, &Members::value_type::first);
  return at == members_.end() ? nullptr : &at->second;
}

JsonTree& JsonTree::set(const std::string& name, JsonTree value) {
  kind_ = Kind::object;
  const auto at = std::ranges::find(members_, name, &Members::value_type::first);
  if (at != members_.end()) {
    at->second = std::move(value);
  } else {
    members_.emplace_back(name, std::move(value));
  }
  return *this;
}

JsonTree& JsonTree::append(JsonTree item) {
  kind_ = Kind::array;
  items_.push_back(std::move(item));
  return *this;
}

void JsonTree::merge(const JsonTree& other) {
  for (const auto& [name, value] : other.members_) {
    const auto own = std::ranges::find(members_, name, &Members::value_type::first);
    const bool meet = own != members_.end() && own->second.is(Kind::object);
    if (meet && value.is(Kind::object)) {
      own->second.merge(value);
    } else {
      set(name, value);
    }
  }
}

JsonTree read_tree(const std::string& text, const std::string& origin) {
  static_cast<void>(read_json(text, origin));  // refuses what is not strict
  return tree_of(ordered_json::parse(text));
}

std::string to_text(const JsonTree& tree, int indent) {
  return json_of(tree).dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace strait::config
