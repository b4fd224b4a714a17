#include "input/piece_tokenizer.h"

#include <charconv>
#include <stdexcept>

namespace strait::input {

PieceTokenizer::PieceTokenizer(std::string name, std::vector<std::string> pieces, std::int32_t eod)
    : name_(std::move(name)), pieces_(std::move(pieces)), eod_(eod) {
  pieces_.at(static_cast<std::size_t>(eod)).clear();
}

const std::string& PieceTokenizer::piece(std::int32_t token) const {
  if (token >= 0 && token < vocab_size()) return pieces_[static_cast<std::size_t>(token)];
  throw std::out_of_range("tokenizer " + name_ + ": expected a token in 0.." +
                          std::to_string(vocab_size() - 1) + ", got " + std::to_string(token));
}

std::string PieceTokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) text += piece(token);
  return text;
}

std::int32_t PieceTokenizer::bytes_of(std::int32_t token) const {
  return static_cast<std::int32_t>(piece(token).size());
}

std::string marked_text(std::string_view token) {
  if (token.size() == 6 && token.starts_with("<0x") && token.ends_with(">")) {
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(token.begin() + 3, token.begin() + 5, byte, 16);
    if (error == std::errc() && end == token.begin() + 5) {
      return std::string(1, static_cast<char>(byte));
    }
  }
  constexpr std::string_view kSpace = "\xE2\x96\x81";
  std::string out(token);
  for (std::size_t at = 0; (at = out.find(kSpace, at)) != std::string::npos; ++at) {
    out.replace(at, kSpace.size(), 1, ' ');
  }
  return out;
}

}  // namespace strait::input
