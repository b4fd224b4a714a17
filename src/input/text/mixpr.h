#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "input/text/tfidf.h"

// Related documents side by side, by the retriever of MixPR (arXiv 2412.06078): personalised
// PageRank on a sparse graph of TF-IDF cosines, here used to order training text. Seeds, symmetric
// graph and windows as in our own reading; each document is placed once.
namespace strait::input {

struct MixprOptions {
  std::int64_t window_bytes = 128 << 10;  // text of documents that are placed together
  double random_share = 0.1;              // of the windows, filled by chance
  double teleport = 0.3;                  // chance to return to the window's first document
  std::int64_t neighbours = 16;           // of a document in the graph, before it is made symmetric
  double low = 0.05, high = 0.9;          // cosines of neighbours; above: near-duplicates
  std::uint64_t seed = 1;
  TfidfOptions tfidf = {};
};

/// Documents in their new order, and whether that has helped.
struct MixprOrdering {
  std::vector<std::int64_t> documents;
  std::vector<std::int64_t> windows;  // first document of each window in the order
  double cosine = 0;                  // mean of TF-IDF over pairs of documents in a window
  double random_cosine = 0;           // the same of a random order
};

/// Every window starts with the unplaced document of the lowest degree and takes in unplaced ones
/// by their PageRank with that document as the only source, until it is full; when nothing related
/// is left, the next document of the lowest degree goes on. Windows are shuffled. The same for the
/// same texts and options.
MixprOrdering mixpr_order(const std::vector<std::string_view>& texts, const MixprOptions& options);

/// The options that change the order, in words.
std::string describe(const MixprOptions& options);

}  // namespace strait::input
