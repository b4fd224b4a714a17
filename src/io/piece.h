#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

// Which elements of a whole tensor some rank or file holds. Every layout over ranks (data, tensor,
// context, expert, divided optimizer states) is such pieces, so that any other layout is read from
// them by intersection.
namespace strait::io {

/// A box of the whole tensor and, of the box's elements in row-major order, the range [begin, end).
struct Piece {
  std::vector<std::int64_t> offset, shape;
  std::int64_t begin = 0, end = 0;

  bool operator==(const Piece&) const = default;
  std::int64_t elements() const { return end - begin; }
};

/// All of a tensor.
Piece whole_piece(const std::vector<std::int64_t>& shape);

/// Throws InputError, opened by `origin`, unless the piece lies inside a tensor of `shape`.
void check_piece(const Piece& piece, const std::vector<std::int64_t>& shape,
                 const std::string& origin);

/// Copies what both pieces of one tensor hold from one's elements to the other's, `size` bytes
/// each. Returns how many elements that are.
std::int64_t copy_common(const Piece& from, std::span<const std::byte> source, const Piece& to,
                         std::span<std::byte> target, std::size_t size);

}  // namespace strait::io
