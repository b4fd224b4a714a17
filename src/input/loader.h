#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "input/dataset.h"
#include "input/mixture.h"
#include "input/packing.h"
#include "input/windows.h"

namespace strait::input {

struct LoaderOptions {
  PackingOptions packing;
  std::int64_t global_batch = 0;  // sequences per optimizer step, over all ranks
  std::uint64_t seed = 0;
};

/// What a run has seen of a dataset.
struct DatasetProgress {
  std::string name;
  double share = 0;         // wanted, of the tokens
  std::int64_t tokens = 0;  // taken in, padding not counted: on average over an epoch's sequences
  double epochs = 0;
};

/// Training batches with random access, so that a resumed run needs only its step number: step n
/// takes samples [n B, (n + 1) B) whatever the ranks. Sample i comes from the dataset that the
/// mixture draws, as its k-th: sequence permutation(seed, k / count)(k mod count) of its packing.
class Loader {
 public:
  /// The tokens outlive the loader; their shares are all positive. Throws InputError when a dataset
  /// is shorter than a sequence or an option is bad.
  Loader(const std::vector<NamedTokens>& datasets, const LoaderOptions& options);

  /// Sequences [first, first + count) of the global batch of `step` (from 0); a rank asks for its
  /// part. Throws std::out_of_range when they are not in the batch.
  void batch(std::int64_t step, std::int64_t first, std::int64_t count, Samples& out) const;
  /// After `steps` steps.
  std::vector<DatasetProgress> progress(std::int64_t steps) const;

 private:
  struct Stream {
    std::string name;
    double share = 0;  // of the tokens, of 1
    std::unique_ptr<Packing> packing;
    std::uint64_t seed = 0;
  };
  Mixture mix() const;

  std::int64_t seq_len_;
  std::int64_t global_batch_;
  std::vector<Stream> streams_;
  Mixture mixture_;
};

/// Evaluation: every window once and in order, the last one padded.
class EvalLoader {
 public:
  /// `tokens` outlives the loader. Throws InputError when they hold no label or an option is bad.
  EvalLoader(const NamedTokens& tokens, const PackingOptions& options);

  const std::string& name() const { return name_; }
  std::int64_t windows() const { return windows_.count(); }
  /// Windows [first, first + count); those past the last have no labels, so that ranks may run the
  /// same number of batches. Precondition: first >= 0.
  void batch(std::int64_t first, std::int64_t count, Samples& out) const;

 private:
  std::string name_;
  std::int64_t seq_len_;
  Windows windows_;
};

}  // namespace strait::input
