#pragma once

#include <string>
#include <vector>

#include "input/loader.h"
#include "train/engine.h"

namespace strait::train {

/// Losses of tokens that see at least `first` tokens of their document before them, and fewer than
/// twice that many (1 token: exactly one).
struct PositionLoss {
  std::int64_t first = 0;
  std::int64_t labels = 0;
  double loss = 0;  // nats per label
};

struct EvalResult {
  std::string name;          // of the dataset
  double loss = 0;           // nats per counted label
  double bits_per_byte = 0;  // of text
  std::int64_t labels = 0;
  std::vector<PositionLoss> by_position = {};  // of those with labels, rising
};

/// Losses on every dataset, and on all together (first).
using Evaluation = std::vector<EvalResult>;

/// Mean losses over windows of `loaders`, at most `max_sequences` of each (0: all), shared out over
/// the data ranks. Collective over the mesh; the same result on every rank.
Evaluation evaluate(Engine& engine, const std::vector<input::EvalLoader>& loaders,
                    const input::Tokenizer& tokenizer, std::int64_t max_sequences);

/// Loss of every token of the batch in `engine.ctx().tokens`, in its order, 0 where there is no
/// label. What the shard holds on this rank; waits for the device.
struct TokenLosses {
  std::vector<double> loss;
  std::vector<std::int32_t> labels, doc_pos;
};
TokenLosses token_losses(Engine& engine);

}  // namespace strait::train
