#include "kernels/cuda/gemm_table.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "kernels/cuda/gemm_table_texts.h"

namespace strait::kernels::cuda {
namespace {

constexpr std::string_view kDevice = "device ", kVersion = "cublaslt ", kArrow = " -> ";

using Words = std::array<unsigned long long, 8>;
static_assert(sizeof(Words) == sizeof(cublasLtMatmulAlgo_t));

std::string line_of(const std::string& shape, const GemmTableRow& row) {
  Words words;
  std::memcpy(words.data(), &row.algorithm, sizeof words);
  std::string line = shape + std::string(kArrow);
  char text[64];
  for (const unsigned long long word : words) {
    std::snprintf(text, sizeof text, "%llx ", word);
    line += text;
  }
  std::snprintf(text, sizeof text, "| %.1f us, %.1f", row.us, row.heuristic_us);
  return line + text;
}

/// False when `text`, what follows the arrow, is no row.
bool read_row(const std::string& text, GemmTableRow& row) {
  Words words;
  std::istringstream in(text);
  in >> std::hex;
  for (unsigned long long& word : words) in >> word;
  std::string bar, unit;
  in >> std::dec >> bar >> row.us >> unit >> row.heuristic_us;
  std::memcpy(&row.algorithm, words.data(), sizeof words);
  return !in.fail() && bar == "|";
}

}  // namespace

std::string words_of(const GemmShape& s) {
  std::ostringstream out;
  out << s.m << ' ' << s.n << ' ' << s.k << " / " << s.a_stride << ' ' << s.b_stride << ' '
      << s.c_stride << " / " << name_of(s.in) << ' ' << name_of(s.out) << " / "
      << (s.trans_a ? 't' : 'n') << ' ' << (s.trans_b ? 't' : 'n') << ' '
      << (s.accumulate ? "+=" : "=") << (s.bias ? " bias" : "");
  return out.str();
}

GemmTable::GemmTable(std::string device, std::size_t version)
    : device_(std::move(device)), version_(version) {}

GemmTable GemmTable::parse(std::string_view text) {
  GemmTable table;
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(kDevice)) table.device_ = line.substr(kDevice.size());
    if (line.starts_with(kVersion)) {
      std::istringstream(line.substr(kVersion.size())) >> table.version_;
    }
    const std::size_t arrow = line.find(kArrow);
    GemmTableRow row;
    if (arrow != std::string::npos && read_row(line.substr(arrow + kArrow.size()), row)) {
      table.rows_[line.substr(0, arrow)] = row;
    }
  }
  return table;
}

GemmTable GemmTable::built_in(const std::string& device, std::size_t version) {
  for (const char* text : gemm_table_texts()) {
    GemmTable table = parse(text);
    if (table.fits(device, version)) return table;
  }
  return {device, version};
}

std::string GemmTable::text() const {
  std::string out =
      "# Made by `train --tune`. A row: m n k / row strides of a, b, c / dtypes of inputs and\n"
      "# output / transposes and store -> algorithm | its time, that of the heuristic's choice\n";
  out += std::string(kDevice) + device_ + "\n";
  out += std::string(kVersion) + std::to_string(version_) + "\n";
  for (const auto& [shape, row] : rows_) out += line_of(shape, row) + "\n";
  return out;
}

bool GemmTable::fits(const std::string& device, std::size_t version) const {
  return device_ == device && version_ == version;
}

const GemmTableRow* GemmTable::find(const GemmShape& shape) const {
  constexpr std::uint32_t kAlignment = 16;
  if (std::min({shape.a_alignment, shape.b_alignment, shape.c_alignment}) < kAlignment) {
    return nullptr;
  }
  GemmShape other = shape;
  other.accumulate = !shape.accumulate;
  for (const GemmShape& candidate : {shape, other}) {
    const auto found = rows_.find(words_of(candidate));
    if (found != rows_.end()) return &found->second;
  }
  return nullptr;
}

void GemmTable::set(const GemmShape& shape, const GemmTableRow& row) {
  rows_[words_of(shape)] = row;
}

}  // namespace strait::kernels::cuda
