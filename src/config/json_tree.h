#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A JSON document as plain values, for files beside the config: members keep their order.
namespace strait::config {

class JsonTree {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, text, array, object };
  using Members = std::vector<std::pair<std::string, JsonTree>>;

  JsonTree() = default;
  JsonTree(bool value);
  JsonTree(double value);
  JsonTree(int value) : JsonTree(static_cast<double>(value)) {}
  /// Exact up to 2^53.
  JsonTree(std::int64_t value) : JsonTree(static_cast<double>(value)) {}
  JsonTree(std::string value);
  JsonTree(const char* value) : JsonTree(std::string(value)) {}
  static JsonTree array(std::vector<JsonTree> items = {});
  static JsonTree object();

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  /// "an object", "a number", ...: for messages.
  std::string kind_name() const;

  // Values of the kind that the name says; those of another kind are empty, 0 or false.
  bool boolean() const { return boolean_; }
  double number() const { return number_; }
  const std::string& text() const { return text_; }
  const std::vector<JsonTree>& items() const { return items_; }
  const Members& members() const { return members_; }

  /// Null when this is no object or has no such member.
  const JsonTree* find(std::string_view name) const;
  /// Sets a member, at its place or at the end; returns this.
  JsonTree& set(const std::string& name, JsonTree value);
  JsonTree& append(JsonTree item);
  /// Members of `other` over those of this: objects meet member by member, all else is replaced.
  void merge(const JsonTree& other);

  bool operator==(const JsonTree&) const = default;

 private:
  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string text_;
  std::vector<JsonTree> items_;
  Members members_;
};

/// Strict JSON, refused as read_json() (read_json.h) does: InputError with line and column.
JsonTree read_tree(const std::string& text, const std::string& origin);

/// One line, or `indent` blanks a level. Numbers that are no number become null.
std::string to_text(const JsonTree& tree, int indent = -1);

}  // namespace strait::config
