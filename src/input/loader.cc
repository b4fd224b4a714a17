#include "input/loader.h"

#include <stdexcept>
#include <string>

#include "core/error.h"
#include "core/rng.h"
#include "input/permutation.h"

namespace strait::input {
namespace {

/// Each dataset has a shuffle of its own; the first one's is the seed's.
std::uint64_t seed_of(std::uint64_t seed, std::size_t dataset) {
  return dataset == 0 ? seed : seed ^ core::stream_id("input/dataset" + std::to_string(dataset));
}

void require_sequence(const NamedTokens& set, std::int64_t seq_len) {
  if (set.tokens.size > seq_len) return;
  throw core::InputError("data.train: the " + std::to_string(set.tokens.size) + " tokens of \"" +
                         set.name + "\" hold no sequence of data.seq_len " +
                         std::to_string(seq_len) +
                         " and the label after it; shorten data.seq_len or add text");
}

double total_share(const std::vector<NamedTokens>& datasets) {
  double total = 0;
  for (const NamedTokens& set : datasets) total += set.share;
  return total;
}

}  // namespace

Loader::Loader(const std::vector<NamedTokens>& datasets, const LoaderOptions& options)
    : seq_len_(options.packing.seq_len),
      global_batch_(options.global_batch),
      streams_([&] {
        std::vector<Stream> streams;
        for (const NamedTokens& set : datasets) {
          auto packing = make_packing(set.tokens, options.packing);
          require_sequence(set, options.packing.seq_len);
          streams.push_back({.name = set.name,
                             .share = set.share / total_share(datasets),
                             .packing = std::move(packing),
                             .seed = seed_of(options.seed, streams.size())});
        }
        return streams;
      }()),
      mixture_(mix()) {
  if (global_batch_ >= 1) return;
  throw core::InputError("train.batch_size: expected at least 1, got " +
                         std::to_string(global_batch_));
}

/// Shares are of tokens: a dataset whose sequences are less full is drawn more often.
Mixture Loader::mix() const {
  std::vector<double> samples;
  for (const Stream& stream : streams_) {
    const Packing& packing = *stream.packing;
    samples.push_back(stream.share * static_cast<double>(packing.count()) /
                      static_cast<double>(packing.tokens()));
  }
  return Mixture(samples);
}

void Loader::batch(std::int64_t step, std::int64_t first, std::int64_t count, Samples& out) const {
  if (step < 0 || first < 0 || count < 0 || first > global_batch_ - count) {
    throw std::out_of_range("sequences [" + std::to_string(first) + ", +" + std::to_string(count) +
                            ") of step " + std::to_string(step) + ", which has " +
                            std::to_string(global_batch_));
  }
  out.resize(count, seq_len_);
  for (std::int64_t row = 0; row < count; ++row) {
    const Mixture::Draw draw = mixture_.at(step * global_batch_ + first + row);
    const Stream& stream = streams_[static_cast<std::size_t>(draw.dataset)];
    const std::int64_t sequences = stream.packing->count();
    const auto epoch = static_cast<std::uint64_t>(draw.index / sequences);
    const Permutation shuffle(sequences, stream.seed, epoch);
    stream.packing->write(shuffle(draw.index % sequences), row, out);
  }
}

std::vector<DatasetProgress> Loader::progress(std::int64_t steps) const {
  std::vector<DatasetProgress> out;
  for (const Stream& stream : streams_) {
    const auto dataset = static_cast<std::int64_t>(out.size());
    const auto drawn = static_cast<double>(mixture_.count(dataset, steps * global_batch_));
    const double epochs = drawn / static_cast<double>(stream.packing->count());
    const double tokens = epochs * static_cast<double>(stream.packing->tokens());
    out.push_back({stream.name, stream.share, static_cast<std::int64_t>(tokens), epochs});
  }
  return out;
}

EvalLoader::EvalLoader(const NamedTokens& tokens, const PackingOptions& options)
    : name_(tokens.name), seq_len_(options.seq_len), windows_(tokens.tokens, options) {
  if (windows_.count() >= 1) return;
  throw core::InputError("evaluation: the " + std::to_string(tokens.tokens.size) + " tokens of \"" +
                         name_ + "\" hold no label; raise data.val_documents or set data.val");
}

void EvalLoader::batch(std::int64_t first, std::int64_t count, Samples& out) const {
  out.resize(count, seq_len_);
  for (std::int64_t row = 0; row < count; ++row) windows_.write(first + row, row, out);
}

}  // namespace strait::input
