#include "input/loader.h"

#include <stdexcept>
#include <string>

#include "core/error.h"
#include "input/permutation.h"

namespace strait::input {

Loader::Loader(const TokenView& tokens, const LoaderOptions& options)
    : windows_(tokens, options.window), global_batch_(options.global_batch), seed_(options.seed) {
  if (global_batch_ < 1) {
    throw core::InputError("train.batch_size: expected at least 1, got " +
                           std::to_string(global_batch_));
  }
  if (windows_.complete() < 1) {
    throw core::InputError("data.train: " + std::to_string(tokens.size) +
                           " tokens hold no sequence of data.seq_len " +
                           std::to_string(windows_.seq_len()) +
                           " and the label after it; shorten data.seq_len or add text");
  }
}

std::int64_t Loader::epoch(std::int64_t step) const {
  return step * global_batch_ / windows();
}

void Loader::batch(std::int64_t step, std::int64_t first, std::int64_t count, Samples& out) const {
  if (step < 0 || first < 0 || count < 0 || first > global_batch_ - count) {
    throw std::out_of_range("sequences [" + std::to_string(first) + ", +" + std::to_string(count) +
                            ") of step " + std::to_string(step) + ", which has " +
                            std::to_string(global_batch_));
  }
  out.resize(count, windows_.seq_len());
  for (std::int64_t row = 0; row < count; ++row) {
    const std::int64_t sample = step * global_batch_ + first + row;
    const auto epoch = static_cast<std::uint64_t>(sample / windows());
    const Permutation shuffle(windows(), seed_, epoch);
    windows_.write(shuffle(sample % windows()), row, out);
  }
}

EvalLoader::EvalLoader(const TokenView& tokens, const WindowOptions& options)
    : windows_(tokens, options) {
  if (windows_.all() >= 1) return;
  throw core::InputError("evaluation: " + std::to_string(tokens.size) +
                         " tokens hold no label; raise data.val_documents or set data.val");
}

void EvalLoader::batch(std::int64_t first, std::int64_t count, Samples& out) const {
  out.resize(count, windows_.seq_len());
  for (std::int64_t row = 0; row < count; ++row) windows_.write(first + row, row, out);
}

}  // namespace strait::input
