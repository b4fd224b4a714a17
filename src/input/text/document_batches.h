#pragma once

#include <optional>
#include <vector>

#include "input/text/document_reader.h"
#include "input/text/tokenize_job.h"

namespace strait::input {

/// Documents in pieces that are worth handing to a thread, in the order they are to be written in.
class DocumentBatches {
 public:
  virtual ~DocumentBatches() = default;
  virtual std::optional<std::vector<RawDocument>> next() = 0;
};

/// As they come.
class GivenOrder final : public DocumentBatches {
 public:
  /// Leaves out the first `skip` documents. `reader` (and options, below) outlive this.
  GivenOrder(DocumentReader& reader, std::int64_t skip);
  std::optional<std::vector<RawDocument>> next() override;

 private:
  DocumentReader& reader_;
};

/// In the order of mixpr, part after part of about options.part_bytes of text.
class MixprOrder final : public DocumentBatches {
 public:
  MixprOrder(DocumentReader& reader, std::int64_t skip, const TokenizeOptions& options)
      : reader_(reader), skip_(skip), options_(options) {}
  std::optional<std::vector<RawDocument>> next() override;

 private:
  bool read_part();

  DocumentReader& reader_;
  std::int64_t skip_;  // documents still to leave out
  const TokenizeOptions& options_;
  std::vector<RawDocument> part_;    // their text
  std::vector<std::int64_t> order_;  // of the part
  std::size_t given_ = 0;            // of the order
};

}  // namespace strait::input
