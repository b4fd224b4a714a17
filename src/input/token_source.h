#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace strait::input {

/// A long run of tokens with random access: documents one after another, each ended by EOD (in
/// files of other programs the last one may lack it). Reading is thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual std::int64_t size() const = 0;  // tokens, EODs included
  virtual std::int64_t documents() const = 0;
  virtual std::int32_t eod() const = 0;
  /// Whether the tokens are data, not a function of a seed: what a fingerprint covers.
  virtual bool stored() const { return true; }
  /// Fills `out` with tokens [first, first + out.size()), all inside the vocabulary. Throws
  /// std::out_of_range when they reach past the end, InputError when the data are bad.
  virtual void read(std::int64_t first, std::span<std::int32_t> out) const = 0;
};

/// Tokens held in memory.
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

/// Calls `visit` with the tokens of `view`, block after block.
void for_each_block(const TokenView& view,
                    const std::function<void(std::span<const std::int32_t>)>& visit);

/// Documents in a source that says nothing of them, by its EODs: the last one may lack it, and one
/// at the very beginning ends none. Reads every token.
std::int64_t count_documents(const TokenSource& source);

/// Several sources one after another, as one.
class JoinedSource final : public TokenSource {
 public:
  /// Precondition: not empty, all with the same EOD.
  explicit JoinedSource(std::vector<std::unique_ptr<TokenSource>> parts);
  std::int64_t size() const override { return ends_.back(); }
  std::int64_t documents() const override { return documents_; }
  std::int32_t eod() const override { return parts_.front()->eod(); }
  void read(std::int64_t first, std::span<std::int32_t> out) const override;

 private:
  std::vector<std::unique_ptr<TokenSource>> parts_;
  std::vector<std::int64_t> ends_;  // tokens up to and with each part
  std::int64_t documents_ = 0;
};

/// Throws std::out_of_range unless [first, first + count) lies in a run of `size` tokens.
void check_range(std::int64_t first, std::size_t count, std::int64_t size);

}  // namespace strait::input
