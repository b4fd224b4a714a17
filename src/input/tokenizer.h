#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strait::input {

/// Text to token ids and back. Ids are 0 .. vocab_size() - 1, one of them the end of a document
/// (EOD), which stands for no text and which encode() never produces. Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string_view name() const = 0;
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t eod() const = 0;
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// EOD decodes to nothing. Throws std::out_of_range on an id outside the vocabulary.
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
  /// Bytes of text that a token stands for, to turn nats into bits per byte. EOD: 0.
  virtual std::int32_t bytes_of(std::int32_t token) const = 0;
};

/// "bytes" (ids 0-255 are bytes, 256 is EOD), or a path that locate() finds to what
/// tokenizer_files.h opens. Throws InputError on any other name, listing the known.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

}  // namespace strait::input
