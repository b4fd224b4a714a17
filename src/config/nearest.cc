#include "config/nearest.h"

#include <algorithm>
#include <vector>

#include "config/schema.h"

namespace strait::config {
namespace {

struct Split {
  std::string_view section;
  std::string_view leaf;
};

Split split(std::string_view path) {
  const auto dot = path.rfind('.');
  if (dot == std::string_view::npos) return {{}, path};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

// Bounds the work on hostile names.
std::string_view shortened(std::string_view text) {
  return text.substr(0, 100);
}

/// One is the other with more words before or behind: "batch" and "batch_size".
bool adds_words(std::string_view a, std::string_view b) {
  const std::string_view longer = a.size() > b.size() ? a : b;
  const std::string shorter(a.size() > b.size() ? b : a);
  if (shorter.empty()) return false;
  return longer.starts_with(shorter + "_") || longer.ends_with("_" + shorter);
}

std::vector<std::string_view> words_of(std::string_view name) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('_', at), name.size());
    words.push_back(name.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

/// Both have a word of some length: "grad_clip" and "clip_norm".
bool share_a_word(std::string_view a, std::string_view b) {
  constexpr std::size_t kLong = 4;
  const std::vector<std::string_view> others = words_of(b);
  return std::ranges::any_of(words_of(a), [&](std::string_view word) {
    return word.size() >= kLong && std::ranges::find(others, word) != others.end();
  });
}

std::size_t leaf_distance(std::string_view a, std::string_view b) {
  // Farther than a slip, which the whole name may have.
  constexpr std::size_t kWordsAdded = 2, kWordShared = 3;
  const std::size_t edits = edit_distance(a, b);
  if (adds_words(a, b)) return std::min(kWordsAdded, edits);
  return share_a_word(a, b) ? std::min(kWordShared, edits) : edits;
}

std::size_t path_distance(std::string_view path, std::string_view candidate) {
  // A right name in a wrong section is about as likely as two slips of the finger.
  constexpr std::size_t kMoved = 2;
  const Split a = split(path);
  const Split b = split(candidate);
  const std::size_t moved = leaf_distance(a.leaf, b.leaf) + (a.section == b.section ? 0 : kMoved);
  return std::min(moved, edit_distance(path, candidate));
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(previous);
    previous.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({substituted, previous[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates) {
  word = shortened(word);
  return *std::ranges::min_element(
      candidates, {}, [&](std::string_view candidate) { return edit_distance(word, candidate); });
}

std::string nearest_path(std::string_view path) {
  path = shortened(path);
  std::vector<std::string_view> candidates(sections().begin(), sections().end());
  for (const Key& key : schema()) candidates.push_back(key.path);
  return std::string(*std::ranges::min_element(
      candidates, {}, [&](std::string_view candidate) { return path_distance(path, candidate); }));
}

}  // namespace strait::config
