#pragma once

#include <cstdint>

#include "input/windows.h"

namespace strait::input {

struct LoaderOptions {
  WindowOptions window;
  std::int64_t global_batch = 0;  // sequences per optimizer step, over all ranks
  std::uint64_t seed = 0;
};

/// Training batches with random access, so that a resumed run needs only its step number. Sample i
/// is window permutation(seed, epoch)(i mod windows) of epoch i / windows; step n takes samples
/// [n B, (n + 1) B) whatever the ranks. Tokens after the last complete window are not used.
class Loader {
 public:
  /// `tokens` outlives the loader. Throws InputError when they hold no window or an option is bad.
  Loader(const TokenView& tokens, const LoaderOptions& options);

  std::int64_t windows() const { return windows_.complete(); }
  /// Epoch that the first sample of `step` belongs to.
  std::int64_t epoch(std::int64_t step) const;
  /// Sequences [first, first + count) of the global batch of `step` (from 0); a rank asks for its
  /// part. Throws std::out_of_range when they are not in the batch.
  void batch(std::int64_t step, std::int64_t first, std::int64_t count, Samples& out) const;

 private:
  Windows windows_;
  std::int64_t global_batch_;
  std::uint64_t seed_;
};

/// Evaluation: every window once and in order, the last one padded.
class EvalLoader {
 public:
  /// `tokens` outlives the loader. Throws InputError when they hold no label or an option is bad.
  EvalLoader(const TokenView& tokens, const WindowOptions& options);

  std::int64_t windows() const { return windows_.all(); }
  /// Windows [first, first + count); those past the last have no labels, so that ranks may run the
  /// same number of batches. Precondition: first >= 0.
  void batch(std::int64_t first, std::int64_t count, Samples& out) const;

 private:
  Windows windows_;
};

}  // namespace strait::input
