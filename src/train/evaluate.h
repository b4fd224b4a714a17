#pragma once

#include "input/loader.h"
#include "train/engine.h"

namespace strait::train {

struct EvalResult {
  double loss = 0;           // nats per counted label
  double bits_per_byte = 0;  // of text
  std::int64_t labels = 0;
};

/// Mean loss over windows of `loader`, at most `max_sequences` of them (0: all), shared out over
/// the data ranks. Collective over the mesh; the same result on every rank.
EvalResult evaluate(Engine& engine, const input::EvalLoader& loader,
                    const input::Tokenizer& tokenizer, std::int64_t max_sequences);

}  // namespace strait::train
