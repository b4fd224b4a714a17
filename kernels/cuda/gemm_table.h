#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "kernels/cuda/gemm_plan.h"

// Algorithms that measurement chose, kept in the tree: gemm_table/<device>.txt, built into the
// program. One file holds the rows of one kind of device for one version of cuBLASLt; its rows mean
// nothing to another version, which then leaves the choice to the library's heuristic.
namespace strait::kernels::cuda {

/// One measured choice. The library's own 64 bytes: valid for the version that made them.
struct GemmTableRow {
  cublasLtMatmulAlgo_t algorithm = {};
  double us = 0;            // measured
  double heuristic_us = 0;  // of the library's first choice, in the same measurement
};

class GemmTable {
 public:
  GemmTable() = default;
  GemmTable(std::string device, std::size_t version);

  /// The table in `text`; lines that are not rows are passed over.
  static GemmTable parse(std::string_view text);
  /// The built-in table of this device and library version; empty where there is none.
  static GemmTable built_in(const std::string& device, std::size_t version);

  std::string text() const;
  bool fits(const std::string& device, std::size_t version) const;

  /// Null where the shape was not measured or its addresses are aligned to less than 16 bytes. A
  /// product that adds and one that assigns stand in for each other: an algorithm does both.
  const GemmTableRow* find(const GemmShape& shape) const;
  void set(const GemmShape& shape, const GemmTableRow& row);
  std::size_t size() const { return rows_.size(); }

 private:
  std::string device_;
  std::size_t version_ = 0;
  std::map<std::string, GemmTableRow> rows_;  // by the shape in words
};

/// All of a shape but alignments, in words: "16384 6144 2048 / 2048 2048 6144 / bf16 bf16 / n t =".
std::string words_of(const GemmShape& shape);

}  // namespace strait::kernels::cuda
