#include "io/hf_tokenizer.h"

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "io/json_text.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kNameKey = "strait_tokenizer";
constexpr const char* kEndOfText = "<|endoftext|>";

/// UTF-8 of a code point below 2048.
std::string utf8(std::uint32_t point) {
  if (point < 0x80) return std::string(1, static_cast<char>(point));
  return {static_cast<char>(0xc0 | point >> 6), static_cast<char>(0x80 | (point & 0x3f))};
}

/// The characters that byte-level tokenizers write bytes as (GPT-2): printable ones stand for
/// themselves, the others follow from U+0100 on.
std::string character_of(std::uint32_t byte, std::uint32_t& next) {
  const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  return utf8(printable ? byte : next++);
}

ordered_json byte_vocabulary() {
  ordered_json vocabulary = ordered_json::object();
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < 256; ++byte) vocabulary[character_of(byte, next)] = byte;
  return vocabulary;
}

void write_json(const fs::path& path, const ordered_json& root) {
  core::write_file_atomically(path, [&](std::ostream& out) { out << root.dump(2) << "\n"; });
}

}  // namespace

void write_byte_tokenizer(const fs::path& folder, std::int64_t eod) {
  const ordered_json byte_level{{"type", "ByteLevel"},
                                {"add_prefix_space", false},
                                {"trim_offsets", true},
                                {"use_regex", false}};
  const ordered_json end{{"id", eod},       {"content", kEndOfText}, {"single_word", false},
                         {"lstrip", false}, {"rstrip", false},       {"normalized", false},
                         {"special", true}};
  const ordered_json model{{"type", "BPE"},
                           {"dropout", nullptr},
                           {"unk_token", nullptr},
                           {"continuing_subword_prefix", nullptr},
                           {"end_of_word_suffix", nullptr},
                           {"fuse_unk", false},
                           {"byte_fallback", false},
                           {"ignore_merges", false},
                           {"vocab", byte_vocabulary()},
                           {"merges", ordered_json::array()}};
  write_json(folder / "tokenizer.json", {{"version", "1.0"},
                                         {"truncation", nullptr},
                                         {"padding", nullptr},
                                         {"added_tokens", ordered_json::array({end})},
                                         {"normalizer", nullptr},
                                         {"pre_tokenizer", byte_level},
                                         {"post_processor", nullptr},
                                         {"decoder", byte_level},
                                         {"model", model}});
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                                {"eos_token", kEndOfText},
                                                {"clean_up_tokenization_spaces", false},
                                                {kNameKey, "bytes"}});
}

int copy_tokenizer_files(const fs::path& from, const fs::path& to) {
  int copied = 0;
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja"}) {
    if (!fs::is_regular_file(from / name)) continue;
    fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
    ++copied;
  }
  return copied;
}

std::string tokenizer_name(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!fs::is_regular_file(path)) return "";
  const nlohmann::json root = parse_json(core::read_file(path), path.string());
  const auto found = root.is_object() ? root.find(kNameKey) : root.end();
  return found != root.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace strait::io
