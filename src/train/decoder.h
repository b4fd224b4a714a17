#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/async.h"
#include "model/transformer.h"

namespace strait::train {

/// A model that reads one text token by token and remembers it: weights, a cache of keys and values
/// (of CCA also the state of convolutions and value shift), no gradients. Owns all of it. Fill the
/// weights of table() before use.
class Decoder {
 public:
  /// `capacity`: tokens of the longest text. Only model and precision of the config matter.
  Decoder(const config::Config& config, std::int64_t capacity, Device device);

  core::ParamTable& table() { return table_; }
  const Stream& stream() const { return ctx_.stream; }
  std::int64_t vocab_size() const { return config_.model.vocab_size; }

  /// Forgets the text.
  void restart();
  static constexpr std::int64_t kMaxRows = 64;
  /// Reads on. Returns the logits [rows, V] of the last `rows` of these tokens, row after row.
  /// Throws InputError past the capacity and for more than kMaxRows.
  std::vector<double> read(std::span<const std::int32_t> tokens, std::int64_t rows = 1);

  std::int64_t past() const { return cache_.past; }
  /// Bytes that the cache grows by with each token, and those that do not grow.
  std::int64_t cache_bytes_per_token() const;
  std::int64_t cache_fixed_bytes() const;

 private:
  void plan();
  void bind();
  std::vector<double> run(std::span<const std::int32_t> tokens, std::int64_t rows);
  void fill_inputs(std::span<const std::int32_t> tokens);

  config::Config config_;
  std::int64_t capacity_, chunk_;  // tokens in all, and of one pass
  parallel::Mesh mesh_;
  parallel::Groups groups_;
  core::ParamTable table_;
  model::Transformer model_;
  parallel::DecodeCache cache_;
  parallel::Arenas arenas_;
  Tensor rows_;  // [6, chunk] i32: ids, labels, places in the text, first key of each kind, last
  std::vector<std::int32_t> host_;
  parallel::TokenBatch batch_;
  kernels::OwnedStream stream_{Device::plan};
  parallel::Ctx ctx_;
};

}  // namespace strait::train
