#pragma once

#include <string>
#include <utility>
#include <vector>

#include "io/name_map.h"

// Shared by the sources that write name maps.
namespace strait::io {

/// Collects entries under the prefixes of one layer, or of the whole model.
class NameMapBuilder {
 public:
  using Shape = std::vector<std::int64_t>;

  /// Prefixes of the names that follow.
  void enter(std::string ours, std::string theirs) {
    ours_ = std::move(ours);
    theirs_ = std::move(theirs);
  }
  NameMapEntry& add(const std::string& part, const std::string& hf, Shape shape,
                    std::int64_t expert = -1) {
    NameMapEntry& entry = entries_.emplace_back();
    entry.part = ours_ + part;
    entry.expert = expert;
    entry.hf = theirs_ + hf;
    entry.shape = std::move(shape);
    return entry;
  }
  NameMapEntry& add_view(const std::string& part, const std::string& hf, Shape shape, HfView view) {
    NameMapEntry& entry = add(part, hf, std::move(shape));
    entry.view = std::move(view);
    return entry;
  }
  /// `value` in `count` elements from `offset` on.
  NameMapEntry& add_constant(const std::string& hf, Shape shape, double value, std::int64_t offset,
                             std::int64_t count) {
    NameMapEntry& entry =
        add_view("", hf, std::move(shape), {.offset = offset, .dims = {{count, 1}}});
    entry.part.clear();
    entry.constant = value;
    return entry;
  }
  /// `value` everywhere.
  NameMapEntry& add_constant(const std::string& hf, Shape shape, double value) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    return add_constant(hf, std::move(shape), value, 0, count);
  }

  std::vector<NameMapEntry> entries() && { return std::move(entries_); }

 private:
  std::string ours_, theirs_;
  std::vector<NameMapEntry> entries_;
};

/// Everything of a zaya model between embedding and final norm (name_map_zaya.cc).
void add_zaya_layers(const config::Model& model, NameMapBuilder& out);

}  // namespace strait::io
