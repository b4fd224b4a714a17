#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/param_table.h"

namespace strait::layouts {

/// What one rank holds of a whole tensor.
struct Piece {
  std::string name;
  std::vector<std::int64_t> shape;  // of the whole
  int cut_dim = 0;
  std::vector<core::Run> runs;
  std::vector<double> values;  // row-major, of the runs side by side
};

/// A rank's pieces of all tensors, for each of some batches.
using Draws = std::vector<std::vector<Piece>>;

/// What a rank computed: gradients after their sum, weights after some steps.
struct RankValues {
  double loss = 0;          // of the first batch
  std::string bytes_error;  // where counted bytes differ from the formulas; empty: nowhere
  Draws gradients, weights;
};

/// This rank's pieces of every trainable parameter's weight or gradient.
enum class Field { gradient, weight };
std::vector<Piece> pieces_of(const core::ParamTable& table, Field field, const Stream& stream);

void write_values(const std::filesystem::path& path, const RankValues& values);
RankValues read_values(const std::filesystem::path& path);

/// How far some ranks' pieces are from the whole ones of a single rank.
struct Distance {
  double relative = 0;  // L2, of the worst tensor
  std::string name;
};

/// Relative L2 distance of every tensor over all copies that ranks hold; a tensor's norm counts as
/// at least kFloor of what its share of all would be. One of fewer than kNumbers numbers is judged
/// over as many draws as make that many, as far as there are any. Throws RuntimeFault when elements
/// are missing.
inline constexpr double kFloor = 1e-6;
inline constexpr std::int64_t kNumbers = 32;
std::map<std::string, double> distances(const Draws& whole, const std::vector<const Draws*>& ranks);
Distance worst(const std::map<std::string, double>& all);

}  // namespace strait::layouts
