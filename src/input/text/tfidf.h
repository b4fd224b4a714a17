#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace strait::input {

/// One entry of a sparse row.
struct Weighted {
  std::int32_t index = 0;
  float weight = 0;
};

/// Rows of different lengths, one after another.
struct SparseRows {
  std::vector<std::int64_t> begin{0};  // of each row, and the end of the last
  std::vector<Weighted> entries;

  std::int64_t rows() const { return static_cast<std::int64_t>(begin.size()) - 1; }
  std::span<const Weighted> row(std::int64_t i) const {
    return std::span(entries).subspan(static_cast<std::size_t>(begin[i]),
                                      static_cast<std::size_t>(begin[i + 1] - begin[i]));
  }
  void end_row() { begin.push_back(static_cast<std::int64_t>(entries.size())); }
};

struct TfidfOptions {
  std::int64_t terms = 64;   // kept of a document, those of the largest weight
  double most_common = 0.1;  // terms in a larger share of the documents are left out
};

/// TF-IDF of words and pairs of adjacent words, hashed to 2^22 terms: weight tf * idf with
/// idf = ln((1 + N) / (1 + df)) + 1, rows of length 1 in L2 (zero when a text has no term). A word
/// is a run of ASCII letters, digits and bytes above 127, without regard to case.
SparseRows tfidf(const std::vector<std::string_view>& texts, const TfidfOptions& options);

/// The `count` rows that are most alike each row by their cosine, if it lies in (low, high);
/// weight is the cosine, indices do not rise in any order.
SparseRows neighbours(const SparseRows& rows, std::int64_t count, double low, double high);

}  // namespace strait::input
