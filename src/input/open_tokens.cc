#include "input/open_tokens.h"

#include <algorithm>

#include "input/flat_tokens.h"
#include "input/megatron.h"
#include "input/text_source.h"
#include "input/token_shard.h"

namespace strait::input {
namespace {

using config::DataFormat;

/// What the first bytes of a token file say it is.
DataFormat detect(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto begin = file.bytes(0, std::min<std::uint64_t>(file.size(), 16));
  const std::string_view bytes(reinterpret_cast<const char*>(begin.data()), begin.size());
  const auto is = [&](std::string_view magic) { return bytes.starts_with(magic); };
  if (is({kShardMagic.data(), kShardMagic.size()})) return DataFormat::strait;
  if (is(kLlmqMagic)) return DataFormat::llmq;
  if (is(kMegatronMagic)) return DataFormat::megatron;
  std::filesystem::path index = path;
  if (path.extension() == ".bin" && std::filesystem::exists(index.replace_extension(".idx"))) {
    return DataFormat::megatron;
  }
  std::uint32_t word = 0;
  bytes.copy(reinterpret_cast<char*>(&word), sizeof word);
  for (const std::uint32_t magic : {kLlmcMagic16, kLlmcMagic32}) {
    if (word == magic || word == __builtin_bswap32(magic)) return DataFormat::llmc;
  }
  file.require(path.extension() != ".bin", "magic",
               "that of a Strait, llm.c, Megatron or LLMQ file", quoted(bytes.substr(0, 8)),
               "if the file holds bare uint16 ids, set data.format to uint16");
  return DataFormat::strait;  // whose reader says what is missing
}

}  // namespace

std::unique_ptr<TokenSource> open_tokens(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer, DataFormat format) {
  if (format == DataFormat::automatic) {
    if (path.extension() == ".txt") return read_text_source(path, tokenizer);
    format = detect(path);
  }
  switch (format) {
    case DataFormat::llmc:
      return open_llmc(path, tokenizer);
    case DataFormat::llmq:
      return open_llmq(path, tokenizer);
    case DataFormat::megatron:
      return open_megatron(path, tokenizer);
    case DataFormat::uint16:
      return open_uint16(path, tokenizer);
    default:
      return std::make_unique<TokenShard>(path, tokenizer);
  }
}

}  // namespace strait::input
