#include "input/text/mixpr.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "input/permutation.h"

namespace strait::input {
namespace {

using Window = std::vector<std::int64_t>;

/// Mass that a push leaves behind, per edge: bounds the pushes of a window by 1 / (it * teleport).
constexpr double kResidual = 5e-4;

/// Each edge in both directions, with its cosine.
SparseRows symmetric(const SparseRows& graph) {
  std::vector<std::vector<Weighted>> rows(static_cast<std::size_t>(graph.rows()));
  for (std::int64_t i = 0; i < graph.rows(); ++i) {
    for (const Weighted& edge : graph.row(i)) {
      rows[i].push_back(edge);
      rows[edge.index].push_back({static_cast<std::int32_t>(i), edge.weight});
    }
  }
  SparseRows out;
  for (std::vector<Weighted>& row : rows) {
    std::ranges::sort(row, {}, &Weighted::index);
    const auto twice = std::ranges::unique(row, {}, &Weighted::index);
    row.erase(twice.begin(), twice.end());
    out.entries.insert(out.entries.end(), row.begin(), row.end());
    out.end_row();
  }
  return out;
}

/// Places documents into windows.
class Placement {
 public:
  Placement(const std::vector<std::string_view>& texts, const SparseRows& graph,
            const MixprOptions& options)
      : texts_(texts), graph_(graph), options_(options), used_(texts.size(), false) {}

  std::vector<Window> run() {
    place_random();
    std::vector<std::int64_t> seeds(texts_.size());
    std::iota(seeds.begin(), seeds.end(), std::int64_t{0});
    std::ranges::stable_sort(seeds, {}, [&](std::int64_t i) { return graph_.row(i).size(); });
    for (const std::int64_t seed : seeds) {
      if (used_[seed]) continue;
      take(seed);
      for (const std::int64_t document : related(seed)) {
        if (bytes_ == 0) break;  // the window is full
        take(document);
      }
    }
    close();
    return std::move(windows_);
  }

 private:
  void take(std::int64_t document) {
    used_[document] = true;
    window_.push_back(document);
    bytes_ += std::ssize(texts_[document]);
    if (bytes_ >= options_.window_bytes) close();
  }

  void close() {
    if (!window_.empty()) windows_.push_back(std::move(window_));
    window_ = {};
    bytes_ = 0;
  }

  void place_random() {
    std::int64_t total = 0;
    for (const std::string_view text : texts_) total += std::ssize(text);
    const auto wanted = static_cast<std::int64_t>(
        options_.random_share * static_cast<double>(total / options_.window_bytes));
    const Permutation shuffle(std::ssize(texts_), options_.seed, 1);
    for (std::int64_t i = 0; i < std::ssize(texts_) && std::ssize(windows_) < wanted; ++i) {
      take(shuffle(i));
    }
    close();
  }

  /// Unplaced documents by falling PageRank with `seed` as the only source; by local push
  /// (Andersen, Chung and Lang, "Local graph partitioning using PageRank vectors", 2006).
  std::vector<std::int64_t> related(std::int64_t seed) const {
    std::unordered_map<std::int64_t, double> rank, residual{{seed, 1.0}};
    std::deque<std::int64_t> queue{seed};
    while (!queue.empty()) {
      const std::int64_t from = queue.front();
      queue.pop_front();
      const double mass = std::exchange(residual[from], 0.0);
      rank[from] += options_.teleport * mass;
      push(from, (1 - options_.teleport) * mass, residual, queue);
    }
    std::vector<std::pair<double, std::int64_t>> order;
    for (const auto& [document, value] : rank) {
      if (!used_[document]) order.emplace_back(-value, document);
    }
    std::ranges::sort(order);
    std::vector<std::int64_t> out;
    for (const auto& entry : order) out.push_back(entry.second);
    return out;
  }

  /// Spreads `mass` over the unplaced neighbours of `from`.
  void push(std::int64_t from, double mass, std::unordered_map<std::int64_t, double>& residual,
            std::deque<std::int64_t>& queue) const {
    double total = 0;
    for (const Weighted& edge : graph_.row(from)) total += used_[edge.index] ? 0 : edge.weight;
    for (const Weighted& edge : graph_.row(from)) {
      if (used_[edge.index]) continue;
      double& there = residual[edge.index];
      const double limit = kResidual * static_cast<double>(graph_.row(edge.index).size());
      const bool waits = there >= limit;
      there += mass * edge.weight / total;
      if (!waits && there >= limit) queue.push_back(edge.index);
    }
  }

  const std::vector<std::string_view>& texts_;
  const SparseRows& graph_;
  const MixprOptions& options_;
  std::vector<char> used_;
  Window window_;           // being filled
  std::int64_t bytes_ = 0;  // of its text
  std::vector<Window> windows_;
};

/// Mean cosine over all pairs of documents that share a window: (|sum of rows|^2 - n) / (n (n -
/// 1)).
double mean_cosine(const SparseRows& rows, const std::vector<Window>& windows) {
  double sum = 0, pairs = 0;
  for (const Window& window : windows) {
    std::unordered_map<std::int32_t, double> total;
    double alone = 0;
    for (const std::int64_t document : window) {
      for (const Weighted& term : rows.row(document)) {
        total[term.index] += term.weight;
        alone += double{term.weight} * term.weight;
      }
    }
    for (const auto& [term, weight] : total) sum += weight * weight;
    sum -= alone;
    pairs += static_cast<double>(window.size()) * static_cast<double>(window.size() - 1);
  }
  return pairs > 0 ? sum / pairs : 0;
}

std::vector<Window> shuffled(std::vector<Window> windows, std::uint64_t seed) {
  std::vector<Window> out;
  const Permutation shuffle(std::ssize(windows), seed, 2);
  for (std::int64_t i = 0; i < std::ssize(windows); ++i) {
    out.push_back(std::move(windows[static_cast<std::size_t>(shuffle(i))]));
  }
  return out;
}

}  // namespace

MixprOrdering mixpr_order(const std::vector<std::string_view>& texts, const MixprOptions& options) {
  if (texts.empty()) return {};
  const SparseRows rows = tfidf(texts, options.tfidf);
  const SparseRows graph =
      symmetric(neighbours(rows, options.neighbours, options.low, options.high));
  MixprOptions chance = options;
  chance.random_share = 1;
  const SparseRows no_graph{.begin = std::vector<std::int64_t>(texts.size() + 1), .entries = {}};
  MixprOrdering out{.documents = {}, .windows = {}};
  out.random_cosine = mean_cosine(rows, Placement(texts, no_graph, chance).run());
  const auto windows = shuffled(Placement(texts, graph, options).run(), options.seed);
  out.cosine = mean_cosine(rows, windows);
  for (const Window& window : windows) {
    out.windows.push_back(std::ssize(out.documents));
    out.documents.insert(out.documents.end(), window.begin(), window.end());
  }
  return out;
}

std::string describe(const MixprOptions& options) {
  char text[160];
  std::snprintf(text, sizeof text, "windows of %lld bytes, %g random, teleport %g, seed %llu",
                static_cast<long long>(options.window_bytes), options.random_share,
                options.teleport, static_cast<unsigned long long>(options.seed));
  return text;
}

}  // namespace strait::input
