#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace strait::input {

/// A long run of tokens with random access: documents one after another, each ended by EOD.
/// Reading is thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual std::int64_t size() const = 0;  // tokens, EODs included
  virtual std::int64_t documents() const = 0;
  virtual std::int32_t eod() const = 0;
  /// Fills `out` with tokens [first, first + out.size()), all inside the vocabulary. Throws
  /// std::out_of_range when they reach past the end, InputError when the data are bad.
  virtual void read(std::int64_t first, std::span<std::int32_t> out) const = 0;
};

/// Tokens held in memory. Precondition: empty, or the last token is EOD.
class MemorySource final : public TokenSource {
 public:
  MemorySource(std::vector<std::int32_t> tokens, std::int32_t eod);
  std::int64_t size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t documents() const override { return documents_; }
  std::int32_t eod() const override { return eod_; }
  void read(std::int64_t first, std::span<std::int32_t> out) const override;

 private:
  std::vector<std::int32_t> tokens_;
  std::int32_t eod_;
  std::int64_t documents_;
};

/// A part of a source that holds whole documents. Does not own the source.
struct TokenView {
  const TokenSource* source = nullptr;
  std::int64_t begin = 0;      // first token
  std::int64_t size = 0;       // tokens
  std::int64_t documents = 0;  // complete documents

  /// As TokenSource::read, counted from `begin`.
  void read(std::int64_t first, std::span<std::int32_t> out) const;
};

TokenView whole(const TokenSource& source);

/// The source without its last `documents` documents, and those. Throws InputError when nothing
/// would be left for the first part.
std::pair<TokenView, TokenView> hold_out(const TokenSource& source, std::int64_t documents);

/// Throws std::out_of_range unless [first, first + count) lies in a run of `size` tokens.
void check_range(std::int64_t first, std::size_t count, std::int64_t size);

}  // namespace strait::input
