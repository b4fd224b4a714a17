#include "input/text/tfidf.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace strait::input {
namespace {

constexpr int kHashBits = 22;

/// Hash of a term: FNV-1a, well mixed in its high bits.
struct Hash {
  std::uint64_t value = 14695981039346656037ull;
  void add(unsigned char byte) { value = (value ^ byte) * 1099511628211ull; }
  std::int32_t bucket() const {
    const std::uint64_t mixed = (value ^ value >> 32) * 0x9E3779B97F4A7C15ull;
    return static_cast<std::int32_t>(mixed >> (64 - kHashBits));
  }
};

/// What a byte adds to a word; 0: it ends one.
constexpr std::array<unsigned char, 256> kLetters = [] {
  std::array<unsigned char, 256> out{};
  for (int c = 0; c < 256; ++c) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool other = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 128;
    out[static_cast<std::size_t>(c)] = static_cast<unsigned char>(upper   ? c - 'A' + 'a'
                                                                  : other ? c
                                                                          : 0);
  }
  return out;
}();

/// Terms of a text with their number of occurrences, sorted.
std::vector<Weighted> count_terms(std::string_view text) {
  std::vector<std::int32_t> terms;
  Hash word, pair;
  bool inside = false, follows = false;
  const auto end_word = [&] {
    terms.push_back(word.bucket());
    if (follows) terms.push_back(pair.bucket());
    pair = word;
    pair.add(' ');
    word = {};
    follows = true;
    inside = false;
  };
  for (const char c : text) {
    const unsigned char letter = kLetters[static_cast<unsigned char>(c)];
    if (letter != 0) {
      word.add(letter);
      pair.add(letter);
      inside = true;
    } else if (inside) {
      end_word();
    }
  }
  if (inside) end_word();
  std::ranges::sort(terms);
  std::vector<Weighted> counts;
  for (const std::int32_t term : terms) {
    if (counts.empty() || counts.back().index != term) counts.push_back({term, 0});
    counts.back().weight += 1;
  }
  return counts;
}

/// Keeps the `count` largest weights, in falling order.
void keep_largest(std::vector<Weighted>& row, std::int64_t count) {
  const auto heavier = [](const Weighted& a, const Weighted& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.index < b.index;
  };
  const auto kept = row.begin() + std::min<std::int64_t>(count, std::ssize(row));
  std::partial_sort(row.begin(), kept, row.end(), heavier);
  row.erase(kept, row.end());
}

void normalise(std::vector<Weighted>& row) {
  double squares = 0;
  for (const Weighted& entry : row) squares += double{entry.weight} * entry.weight;
  for (Weighted& entry : row) entry.weight /= static_cast<float>(std::sqrt(squares));
}

/// Rows by column: which rows hold each term.
SparseRows transposed(const SparseRows& rows) {
  SparseRows out{.begin = std::vector<std::int64_t>((std::size_t{1} << kHashBits) + 1),
                 .entries = std::vector<Weighted>(rows.entries.size())};
  for (const Weighted& entry : rows.entries) ++out.begin[entry.index + 1];
  for (std::size_t i = 1; i < out.begin.size(); ++i) out.begin[i] += out.begin[i - 1];
  std::vector<std::int64_t> next(out.begin.begin(), out.begin.end() - 1);
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    for (const Weighted& entry : rows.row(i)) {
      out.entries[next[entry.index]++] = {static_cast<std::int32_t>(i), entry.weight};
    }
  }
  return out;
}

}  // namespace

SparseRows tfidf(const std::vector<std::string_view>& texts, const TfidfOptions& options) {
  std::vector<std::int32_t> documents_with(std::size_t{1} << kHashBits);
  for (const std::string_view text : texts) {
    for (const Weighted& term : count_terms(text)) ++documents_with[term.index];
  }
  const double n = static_cast<double>(texts.size());
  // In a handful of texts every shared term is common; terms of two of them always count.
  const auto most = static_cast<std::int32_t>(std::max(2.0, options.most_common * n));
  SparseRows out;
  for (const std::string_view text : texts) {
    std::vector<Weighted> row = count_terms(text);
    std::erase_if(row, [&](const Weighted& term) { return documents_with[term.index] > most; });
    for (Weighted& term : row) {
      term.weight *= static_cast<float>(std::log((1 + n) / (1.0 + documents_with[term.index])) + 1);
    }
    keep_largest(row, options.terms);
    normalise(row);
    out.entries.insert(out.entries.end(), row.begin(), row.end());
    out.end_row();
  }
  return out;
}

SparseRows neighbours(const SparseRows& rows, std::int64_t count, double low, double high) {
  const SparseRows holders = transposed(rows);
  std::vector<float> cosine(static_cast<std::size_t>(rows.rows()));
  std::vector<std::int32_t> touched;
  SparseRows out;
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    for (const Weighted& term : rows.row(i)) {
      for (const Weighted& holder : holders.row(term.index)) {
        if (cosine[holder.index] == 0) touched.push_back(holder.index);
        cosine[holder.index] += term.weight * holder.weight;
      }
    }
    std::vector<Weighted> found;
    for (const std::int32_t other : touched) {
      if (other != i && cosine[other] > low && cosine[other] < high) {
        found.push_back({other, cosine[other]});
      }
      cosine[other] = 0;
    }
    touched.clear();
    keep_largest(found, count);
    out.entries.insert(out.entries.end(), found.begin(), found.end());
    out.end_row();
  }
  return out;
}

}  // namespace strait::input
