#include "train/stability_probe.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cross_entropy.h"
#include "train/effective_rank.h"
#include "train/host_copy.h"

namespace strait::train {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor on_host(std::vector<double>& x) {
  return {x.data(), DType::f64, {static_cast<std::int64_t>(x.size())}};
}

/// `mine` of every rank of the group, rank by rank.
std::vector<double> gathered(parallel::Communicator& group, std::vector<double> mine) {
  std::vector<double> all(mine.size() * static_cast<std::size_t>(group.size()));
  if (!all.empty()) group.all_gather(on_host(mine), on_host(all), Stream{}, "probe");
  return all;
}

/// Largest product of a query and a key that it sees. q [H, dk], keys [rows, G, dk].
double largest_product(const double* q, std::int64_t heads, const std::vector<double>& keys,
                       std::int64_t groups, std::int64_t width, std::int64_t begin,
                       std::int64_t end) {
  double largest = -kInfinity;
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const double* a = q + h * width;
      const double* b = keys.data() + (j * groups + h / (heads / groups)) * width;
      double sum = 0;
      for (std::int64_t c = 0; c < width; ++c) sum += a[c] * b[c];
      largest = std::max(largest, sum);
    }
  }
  return largest;
}

}  // namespace

StabilityProbe::StabilityProbe(parallel::Ctx& ctx, std::int64_t layers) : ctx_(ctx) {
  const std::int64_t tokens = ctx.tokens->tokens();
  const auto& contexts = ctx.groups.axis(core::Axis::cp);
  const std::int64_t rows =
      std::min(tokens, (kMeasuredTokens + contexts.size() - 1) / contexts.size());
  for (std::int64_t i = 0; i < rows; ++i) rows_.push_back(i * tokens / rows);
  for (const double label : to_doubles(ctx.tokens->labels, rows_, ctx.stream)) {
    counts_.push_back(label == kernels::kIgnoreLabel ? 0 : 1);
  }
  all_counts_ = gathered(ctx.groups.axis(core::Axis::cp), counts_);
  layers_.resize(static_cast<std::size_t>(layers));
}

void StabilityProbe::scores(std::int64_t layer, ConstTensor q, ConstTensor k,
                            const parallel::Spans& spans, double scale) {
  const std::vector<double> queries = to_doubles(q, rows_, ctx_.stream);
  const std::vector<double> keys = to_doubles(k, ctx_.stream);
  const std::vector<double> begin = to_doubles(spans.k_begin, rows_, ctx_.stream);
  const std::vector<double> end = to_doubles(spans.k_end, rows_, ctx_.stream);
  const std::int64_t heads = q.shape[1], width = q.shape[2];
  double& largest = layers_[static_cast<std::size_t>(layer)].max_logit;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (counts_[i] == 0) continue;
    const double* row = queries.data() + static_cast<std::int64_t>(i) * heads * width;
    largest = std::max(largest, scale * largest_product(row, heads, keys, k.shape[1], width,
                                                        static_cast<std::int64_t>(begin[i]),
                                                        static_cast<std::int64_t>(end[i])));
  }
}

void StabilityProbe::values(std::int64_t layer, ConstTensor v, ConstTensor o) {
  layers_[static_cast<std::size_t>(layer)].v = to_doubles(v, rows_, ctx_.stream);
  layers_[static_cast<std::size_t>(layer)].out = to_doubles(o, rows_, ctx_.stream);
}

void StabilityProbe::mix(std::int64_t index, const parallel::MixWeights& weights) {
  Layer& layer = layers_[static_cast<std::size_t>(index)];
  for (const double temp : to_doubles(weights.temp, ctx_.stream)) {
    const double tau = weights.exponential ? std::exp(temp) : temp;
    layer.tau_max = std::max(layer.tau_max, tau);
    layer.tau_min = std::min(layer.tau_min, tau);
    layer.tau_sum += tau;
    layer.key_heads += 1;
  }
  const auto add = [](Taps& taps, std::size_t tap, double weight) {
    taps.squares.at(tap) += weight * weight;
  };
  if (weights.w0.defined()) {
    const auto channels = static_cast<std::size_t>(weights.w0.shape[1]);
    layer.conv0 = {.squares = std::vector<double>(static_cast<std::size_t>(weights.w0.shape[0])),
                   .channels = static_cast<double>(channels)};
    const std::vector<double> w0 = to_doubles(weights.w0, ctx_.stream);
    for (std::size_t i = 0; i < w0.size(); ++i) add(layer.conv0, i / channels, w0[i]);
  }
  if (weights.w1.defined()) {
    const auto width = static_cast<std::size_t>(weights.w1.shape[2]);
    const auto taps = static_cast<std::size_t>(weights.w1.shape[1]) / width;
    layer.conv1 = {
        .squares = std::vector<double>(taps),
        .channels = static_cast<double>(weights.w1.shape[0]) * static_cast<double>(width)};
    const std::vector<double> w1 = to_doubles(weights.w1, ctx_.stream);
    for (std::size_t i = 0; i < w1.size(); ++i) {
      add(layer.conv1, i / (width * width) % taps, w1[i]);
    }
  }
}

/// Heads are divided among them, and with the heads temperatures and convolutions.
void StabilityProbe::add_over_tensor_ranks() {
  std::vector<double*> terms;
  for (Layer& layer : layers_) {
    for (double* x :
         {&layer.tau_sum, &layer.key_heads, &layer.conv0.channels, &layer.conv1.channels})
      terms.push_back(x);
    for (Taps* taps : {&layer.conv0, &layer.conv1}) {
      for (double& x : taps->squares) terms.push_back(&x);
    }
  }
  std::vector<double> sums;
  for (const double* x : terms) sums.push_back(*x);
  ctx_.groups.axis(core::Axis::tp).all_reduce_sum(on_host(sums), Stream{}, "probe");
  for (std::size_t i = 0; i < terms.size(); ++i) *terms[i] = sums[i];
}

void StabilityProbe::agree_on_peaks() {
  std::vector<double> mine;
  for (const Layer& layer : layers_) {
    mine.insert(mine.end(), {layer.max_logit, layer.tau_max, -layer.tau_min});
  }
  const std::vector<double> all = gathered(ctx_.groups.world(), mine);
  for (std::size_t i = 0; i < all.size(); ++i) {
    Layer& layer = layers_[i % mine.size() / 3];
    if (i % 3 == 0) layer.max_logit = std::max(layer.max_logit, all[i]);
    if (i % 3 == 1) layer.tau_max = std::max(layer.tau_max, all[i]);
    if (i % 3 == 2) layer.tau_min = std::min(layer.tau_min, -all[i]);
  }
}

double StabilityProbe::rank_of(const std::vector<double>& rows) const {
  const std::vector<double> all = gathered(ctx_.groups.axis(core::Axis::cp), rows);
  const std::size_t width = all.size() / std::max<std::size_t>(all_counts_.size(), 1);
  std::vector<double> counted;
  for (std::size_t i = 0; i < all_counts_.size(); ++i) {
    const auto row = all.begin() + static_cast<std::ptrdiff_t>(i * width);
    if (all_counts_[i] > 0)
      counted.insert(counted.end(), row, row + static_cast<std::ptrdiff_t>(width));
  }
  const auto n = static_cast<std::int64_t>(std::ranges::count(all_counts_, 1.0));
  std::vector<double> gram = centred_gram(counted, n, static_cast<std::int64_t>(width));
  ctx_.groups.axis(core::Axis::tp).all_reduce_sum(on_host(gram), Stream{}, "probe");
  return effective_rank(gram, n);
}

Stability StabilityProbe::result() {
  add_over_tensor_ranks();
  agree_on_peaks();
  Stability out{.tokens = static_cast<std::int64_t>(std::ranges::count(all_counts_, 1.0)),
                .layers = {}};
  const auto norms = [](const Taps& taps) {
    std::vector<double> of_taps;
    for (const double square : taps.squares) of_taps.push_back(std::sqrt(square / taps.channels));
    return of_taps;
  };
  for (const Layer& layer : layers_) {
    const bool warm = layer.key_heads > 0;
    const auto if_warm = [&](double x) { return warm ? x : std::nan(""); };
    out.layers.push_back({.max_logit = layer.max_logit,
                          .rank_v = rank_of(layer.v),
                          .rank_out = rank_of(layer.out),
                          .tau_min = if_warm(layer.tau_min),
                          .tau_mean = if_warm(layer.tau_sum / layer.key_heads),
                          .tau_max = if_warm(layer.tau_max),
                          .conv0_taps = norms(layer.conv0),
                          .conv1_taps = norms(layer.conv1)});
  }
  return out;
}

}  // namespace strait::train
