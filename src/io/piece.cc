#include "io/piece.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace strait::io {
namespace {

using Dims = std::vector<std::int64_t>;

std::int64_t product(const Dims& dims) {
  std::int64_t n = 1;
  for (const std::int64_t size : dims) n *= size;
  return n;
}

/// The part of row `row` (all dims but the last, of a box) that lies in the piece's range: columns
/// [first, last) of the box.
struct Row {
  std::int64_t first = 0, last = 0;
};

Row columns_of(const Piece& piece, std::int64_t row) {
  const std::int64_t width = piece.shape.back();
  return {std::clamp<std::int64_t>(piece.begin - row * width, 0, width),
          std::clamp<std::int64_t>(piece.end - row * width, 0, width)};
}

/// Row of `to` that is row `row` of `from` in the whole tensor; -1: it has none.
std::int64_t same_row(const Piece& from, const Piece& to, std::int64_t row) {
  std::int64_t other = 0, rest = row, scale = 1;
  for (std::size_t dim = from.shape.size() - 1; dim-- > 0;) {
    const std::int64_t at = rest % from.shape[dim] + from.offset[dim] - to.offset[dim];
    rest /= from.shape[dim];
    if (at < 0 || at >= to.shape[dim]) return -1;
    other += at * scale;
    scale *= to.shape[dim];
  }
  return other;
}

}  // namespace

Piece whole_piece(const Dims& shape) {
  return {Dims(shape.size(), 0), shape, 0, product(shape)};
}

void check_piece(const Piece& piece, const Dims& shape, const std::string& origin) {
  bool inside = piece.offset.size() == shape.size() && piece.shape.size() == shape.size();
  std::int64_t room = 1;
  for (std::size_t dim = 0; inside && dim < shape.size(); ++dim) {
    const std::int64_t at = piece.offset[dim], size = piece.shape[dim];
    inside = at >= 0 && size >= 0 && at <= shape[dim] && size <= shape[dim] - at &&
             !__builtin_mul_overflow(room, size, &room);
  }
  if (inside && piece.begin >= 0 && piece.begin <= piece.end && piece.end <= room) return;
  throw core::InputError(origin + ": a piece lies outside its tensor");
}

std::int64_t copy_common(const Piece& from, std::span<const std::byte> source, const Piece& to,
                         std::span<std::byte> target, std::size_t size) {
  if (from.elements() == 0 || to.elements() == 0) return 0;
  if (from == to) {
    std::memcpy(target.data(), source.data(), target.size());
    return to.elements();
  }
  const std::int64_t from_width = from.shape.back(), to_width = to.shape.back();
  const std::int64_t shift = from.offset.back() - to.offset.back();
  std::int64_t copied = 0;
  const std::int64_t last_row = (from.end - 1) / from_width;
  for (std::int64_t row = from.begin / from_width; row <= last_row; ++row) {
    const std::int64_t other = same_row(from, to, row);
    if (other < 0) continue;
    const Row have = columns_of(from, row), want = columns_of(to, other);
    const std::int64_t first = std::max(have.first, want.first - shift);
    const std::int64_t last = std::min(have.last, want.last - shift);
    if (first >= last) continue;
    const auto at = [size](std::int64_t element) {
      return static_cast<std::size_t>(element) * size;
    };
    std::memcpy(target.data() + at(other * to_width + first + shift - to.begin),
                source.data() + at(row * from_width + first - from.begin), at(last - first));
    copied += last - first;
  }
  return copied;
}

}  // namespace strait::io
