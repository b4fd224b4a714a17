#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Where the elements of a part lie in a Hugging Face tensor that stores them in another order, or
// beside others.
namespace strait::io {

/// The part, row-major over `dims`, as strides in the other tensor. Without dims the two are equal
/// element for element.
struct HfView {
  struct Dim {
    std::int64_t size = 0;
    std::int64_t stride = 0;  // elements of the Hugging Face tensor
  };
  std::int64_t offset = 0;
  std::vector<Dim> dims = {};

  bool same_order() const { return dims.empty(); }
  std::int64_t elements() const;
  /// Index in the Hugging Face tensor of each element of the part.
  std::vector<std::int64_t> indices() const;
};

/// The part's elements out of a whole Hugging Face tensor.
template <class T>
std::vector<T> gather(const HfView& view, std::span<const T> hf) {
  if (view.same_order()) return {hf.begin(), hf.end()};
  std::vector<T> part;
  for (const std::int64_t at : view.indices()) part.push_back(hf[static_cast<std::size_t>(at)]);
  return part;
}

/// Writes the part's elements to their places in a whole Hugging Face tensor.
template <class T>
void scatter(const HfView& view, std::span<const T> part, std::span<T> hf) {
  if (view.same_order()) {
    for (std::size_t i = 0; i < part.size(); ++i) hf[i] = part[i];
    return;
  }
  const std::vector<std::int64_t> indices = view.indices();
  for (std::size_t i = 0; i < part.size(); ++i) hf[static_cast<std::size_t>(indices[i])] = part[i];
}

}  // namespace strait::io
