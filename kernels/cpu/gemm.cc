#include "kernels/gemm.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/cblas.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class T>
void add_bias(const Tensor& c, const ConstTensor& bias) {
  const std::int64_t rows = c.shape[0], n = c.shape[1];
  const T* values = bias.as<T>();
#pragma omp parallel for
  for (std::int64_t i = 0; i < rows; ++i) {
    T* row = c.as<T>() + i * c.stride[0];
    for (std::int64_t j = 0; j < n; ++j) row[j] += values[j];
  }
}

/// Part of one expert's product: rows [begin, begin + count) of the dimension that is cut.
struct Tile {
  std::int64_t expert, begin, count;
};

void check_offsets(const char* op, const ConstTensor& offsets, std::int64_t rows) {
  const auto* at = offsets.as<std::int32_t>();
  const std::int64_t experts = offsets.shape[0] - 1;
  const Checker c(op);
  c.that(at[0] == 0 && at[experts] <= rows, "offsets: expected to span 0..", rows, " or less, got ",
         at[0], "..", at[experts], "; sort the rows with MoeSort");
  for (std::int64_t e = 0; e < experts; ++e) {
    c.that(at[e] <= at[e + 1], "offsets: decrease after expert ", e,
           "; sort the rows with MoeSort");
  }
}

/// The elements above the diagonal from those below it.
template <class T>
void mirror(const Tensor& c) {
  const std::int64_t side = c.shape[1];
#pragma omp parallel for
  for (std::int64_t row = 0; row < c.shape[0] * side; ++row) {
    T* matrix = c.as<T>() + row / side * side * side;
    const std::int64_t i = row % side;
    for (std::int64_t j = i + 1; j < side; ++j) matrix[i * side + j] = matrix[j * side + i];
  }
}

/// Writes the tile's products, [tile.count, columns], where they belong.
template <class T>
void place_rows(const GroupedGemm& op, const Tile& tile, const T* sums) {
  const std::int64_t columns = op.c.shape[1];
  for (std::int64_t i = 0; i < tile.count; ++i, sums += columns) {
    const std::int64_t from = tile.begin + i;
    const std::int64_t row = op.to.defined() ? op.to.as<std::int32_t>()[from] : from;
    const T scale = op.scale.defined() ? op.scale.as<T>()[row] : T(1);
    T* c = op.c.as<T>() + row * op.c.stride[0];
    for (std::int64_t j = 0; j < columns; ++j) {
      c[j] = scale * sums[j] + (op.accumulate ? c[j] : T(0));
    }
  }
}

/// Runs body(tile) in parallel for tiles that cut [begin(e), end(e)) of every expert. The products
/// of experts are too small to share one among threads, and their sizes too uneven to share whole
/// experts; inside a parallel region CBLAS runs each tile on one thread.
template <class Body>
void for_each_tile(std::int64_t experts, auto&& begin, auto&& end, Body&& body) {
  constexpr std::int64_t kTile = 128;
  std::vector<Tile> tiles;
  for (std::int64_t e = 0; e < experts; ++e) {
    for (std::int64_t r = begin(e); r < end(e); r += kTile) {
      tiles.push_back({e, r, std::min(kTile, end(e) - r)});
    }
  }
  const auto count = static_cast<std::int64_t>(tiles.size());
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) body(tiles[i]);
}

}  // namespace

void run(const Gemm& op) {
  with_real(op.a.dtype, Gemm::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t k = op.a.shape[op.trans_a ? 0 : 1];
    gemm<T>(op.c.shape[0], op.c.shape[1], k, T(1), {op.a.as<T>(), op.a.stride[0], op.trans_a},
            {op.b.as<T>(), op.b.stride[0], op.trans_b}, op.accumulate ? T(1) : T(0), op.c.as<T>(),
            op.c.stride[0]);
    if (op.bias.defined()) add_bias<T>(op.c, op.bias);
  });
}

void run(const GroupedGemm& op) {
  check_offsets(GroupedGemm::kName, op.offsets, op.a.shape[0]);
  const auto* offsets = op.offsets.as<std::int32_t>();
  with_real(op.a.dtype, GroupedGemm::kName, [&](auto real) {
    using T = decltype(real);
    auto first = [&](std::int64_t e) -> std::int64_t { return offsets[e]; };
    auto last = [&](std::int64_t e) -> std::int64_t { return offsets[e + 1]; };
    const bool plain = !op.to.defined() && !op.scale.defined();
    for_each_tile(op.b.shape[0], first, last, [&](const Tile& tile) {
      const std::int64_t columns = op.c.shape[1];
      std::vector<T> sums(plain ? 0 : tile.count * columns);
      T* const c = plain ? op.c.as<T>() + tile.begin * op.c.stride[0] : sums.data();
      const std::int64_t c_stride = plain ? op.c.stride[0] : columns;
      gemm<T>(tile.count, columns, op.a.shape[1], T(1),
              {op.a.as<T>() + tile.begin * op.a.stride[0], op.a.stride[0], false},
              {op.b.as<T>() + tile.expert * op.b.stride[0], op.b.stride[1], op.trans_b},
              T(plain && op.accumulate ? 1 : 0), c, c_stride);
      if (op.more_a.defined()) {
        gemm<T>(tile.count, columns, op.more_a.shape[1], T(1),
                {op.more_a.as<T>() + tile.begin * op.more_a.stride[0], op.more_a.stride[0], false},
                {op.more_b.as<T>(), op.more_b.stride[0], op.trans_b}, T(1), c, c_stride);
      }
      if (!plain) place_rows<T>(op, tile, sums.data());
    });
  });
}

void run(const GroupedGemmWgrad& op) {
  check_offsets(GroupedGemmWgrad::kName, op.offsets, op.a.shape[0]);
  const auto* offsets = op.offsets.as<std::int32_t>();
  with_real(op.a.dtype, GroupedGemmWgrad::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t out = op.a.shape[1], in = op.b.shape[1];
    auto first = [](std::int64_t) -> std::int64_t { return 0; };
    auto last = [&](std::int64_t) { return out; };
    for_each_tile(op.dw.shape[0], first, last, [&](const Tile& tile) {
      const std::int64_t row = offsets[tile.expert], rows = offsets[tile.expert + 1] - row;
      gemm<T>(tile.count, in, rows, T(1),
              {op.a.as<T>() + row * op.a.stride[0] + tile.begin, op.a.stride[0], true},
              {op.b.as<T>() + row * op.b.stride[0], op.b.stride[0], false},
              T(op.accumulate ? 1 : 0),
              op.dw.as<T>() + tile.expert * op.dw.stride[0] + tile.begin * op.dw.stride[1],
              op.dw.stride[1]);
    });
  });
}

void run(const SymmetricProduct& op) {
  with_real(op.x.dtype, SymmetricProduct::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t side = op.c.shape[1], width = op.x.shape[2];
    const std::int64_t depth = op.trans ? op.x.shape[1] : width;
    auto first = [](std::int64_t) -> std::int64_t { return 0; };
    auto last = [&](std::int64_t) { return side; };
    for_each_tile(op.x.shape[0], first, last, [&](const Tile& tile) {
      const T* x = op.x.as<T>() + tile.expert * side * depth;
      gemm<T>(tile.count, tile.begin + tile.count, depth, T(1),
              {x + tile.begin * (op.trans ? 1 : width), width, op.trans}, {x, width, !op.trans},
              T(0), op.c.as<T>() + (tile.expert * side + tile.begin) * side, side);
    });
    if (op.mirror) mirror<T>(op.c);
  });
}

}  // namespace strait::kernels::cpu
