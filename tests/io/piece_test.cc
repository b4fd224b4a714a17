#include "io/held.h"

#include <gtest/gtest.h>

#include <numeric>

namespace strait::io {
namespace {

using Dims = std::vector<std::int64_t>;

std::int64_t product(const Dims& dims) {
  return std::accumulate(dims.begin(), dims.end(), std::int64_t{1}, std::multiplies<>());
}

/// A way to divide a tensor: some dim among ranks, and each rank's box among others (divided
/// optimizer states).
struct Layout {
  std::size_t dim = 0;
  std::int64_t parts = 1, ranges = 1;
};

std::vector<Piece> pieces_of(const Dims& shape, const Layout& layout) {
  std::vector<Piece> pieces;
  for (std::int64_t i = 0; i < layout.parts; ++i) {
    Piece box = whole_piece(shape);
    const std::int64_t size = shape[layout.dim];
    box.offset[layout.dim] = size * i / layout.parts;
    box.shape[layout.dim] = size * (i + 1) / layout.parts - box.offset[layout.dim];
    const std::int64_t n = product(box.shape);
    for (std::int64_t r = 0; r < layout.ranges; ++r) {
      box.begin = n * r / layout.ranges;
      box.end = n * (r + 1) / layout.ranges;
      pieces.push_back(box);
    }
  }
  return pieces;
}

/// Value of an element is its index in the whole tensor.
std::vector<std::int32_t> values_of(const Dims& shape, const Piece& piece) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = piece.begin; i < piece.end; ++i) {
    std::int64_t rest = i, index = 0, scale = 1;
    for (std::size_t dim = shape.size(); dim-- > 0;) {
      index += (rest % piece.shape[dim] + piece.offset[dim]) * scale;
      rest /= piece.shape[dim];
      scale *= shape[dim];
    }
    values.push_back(static_cast<std::int32_t>(index));
  }
  return values;
}

/// Saved in one layout, loaded in another.
void expect_reads(const Dims& shape, const Layout& saved, const Layout& loaded) {
  for (const Piece& to : pieces_of(shape, loaded)) {
    std::vector<std::int32_t> got(static_cast<std::size_t>(to.elements()), -1);
    std::int64_t filled = 0;
    for (const Piece& from : pieces_of(shape, saved)) {
      const std::vector<std::int32_t> have = values_of(shape, from);
      filled += copy_common(from, std::as_bytes(std::span(have)), to,
                            std::as_writable_bytes(std::span(got)), 4);
    }
    ASSERT_EQ(filled, to.elements());
    ASSERT_EQ(got, values_of(shape, to));
  }
}

TEST(Piece, EveryLayoutIsReadFromEveryOther) {
  const Layout layouts[] = {{0, 1, 1}, {0, 2, 1}, {0, 4, 1}, {1, 2, 1}, {1, 3, 1},
                            {0, 1, 2}, {0, 1, 7}, {0, 2, 3}, {1, 2, 5}, {2, 4, 3}};
  for (const Dims& shape : {Dims{12}, Dims{8, 6}, Dims{5, 7}, Dims{4, 6, 8}, Dims{3, 5, 7}}) {
    for (const Layout& saved : layouts) {
      for (const Layout& loaded : layouts) {
        if (std::max(saved.dim, loaded.dim) >= shape.size()) continue;
        expect_reads(shape, saved, loaded);
      }
    }
  }
}

TEST(Piece, AParameterCutByTensorRanksKnowsItsPlace) {
  for (int index = 0; index < 2; ++index) {
    core::ParamTable table(DType::f32);
    table.add({.name = "qkv",
               .shape = {8, 3},
               .sections = {{"q", 4}, {"k", 4}},
               .shard = {.dim = 0, .axis = core::Axis::tp, .parts = 2, .index = index}});
    table.add({.name = "experts",
               .shape = {4, 6, 2},
               .sections = {{"gate", 4}, {"up", 2}},
               .section_dim = 1,
               .shard = {.dim = 0, .axis = core::Axis::ep, .parts = 2, .index = index}});
    table.allocate(Device::cpu);
    const std::vector<Held> held = held_weights(table);
    ASSERT_EQ(held.size(), 4u);
    EXPECT_EQ(held[0].piece, (Piece{{2 * index, 0}, {2, 3}, 0, 6}));
    EXPECT_EQ(held[1].piece, (Piece{{2 * index, 0}, {2, 3}, 0, 6}));
    EXPECT_EQ(held[2].piece, (Piece{{2 * index, 0, 0}, {2, 4, 2}, 0, 16}));
    EXPECT_EQ(held[3].piece, (Piece{{2 * index, 0, 0}, {2, 2, 2}, 0, 8}));
    EXPECT_EQ(held[0].shape, (Dims{4, 3}));
    EXPECT_EQ(held_states(table).size(), 8u);
  }
}

}  // namespace
}  // namespace strait::io
