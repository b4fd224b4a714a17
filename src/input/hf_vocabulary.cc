#include "input/hf_vocabulary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "input/piece_tokenizer.h"

namespace strait::input {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Ids = std::map<std::string, std::int64_t>;  // of tokens as the file writes them

constexpr std::int64_t kMostIds = 1 << 24;
constexpr const char* kEndNames[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>",
                                     "<|eos|>"};

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw core::InputError(path.string() + ": " + why);
}

json read(const fs::path& path) {
  try {
    return json::parse(core::read_file(path));
  } catch (const json::exception& error) {
    refuse(path, std::string("is not JSON: ") + error.what());
  }
}

/// GPT-2's printable stand-ins for bytes: code point -> byte.
const std::map<std::uint32_t, unsigned char>& byte_letters() {
  static const auto letters = [] {
    std::map<std::uint32_t, unsigned char> out;
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      out[shown ? byte : next++] = static_cast<unsigned char>(byte);
    }
    return out;
  }();
  return letters;
}

/// The code point at `at`, which moves past it. JSON has made sure of valid UTF-8.
std::uint32_t take_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  std::uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
  for (int i = 0; i < more; ++i) point = point << 6 | (static_cast<unsigned char>(text[at++]) & 63);
  return point;
}

/// Bytes of a token in a byte-level vocabulary; a letter that stands for no byte is itself.
std::string byte_level_text(std::string_view token) {
  std::string out;
  for (std::size_t at = 0; at < token.size();) {
    const std::size_t begin = at;
    const auto found = byte_letters().find(take_code_point(token, at));
    if (found == byte_letters().end()) {
      out += token.substr(begin, at - begin);
    } else {
      out.push_back(static_cast<char>(found->second));
    }
  }
  return out;
}

/// Whether "type": "ByteLevel" occurs anywhere in a part of tokenizer.json.
bool is_byte_level(const json& part) {
  if (part.is_object() && part.value("type", json()) == "ByteLevel") return true;
  return part.is_structured() && std::ranges::any_of(part, is_byte_level);
}

Ids ids_of(const json& vocab, const fs::path& path) {
  Ids ids;
  if (vocab.is_object()) {
    for (const auto& [token, id] : vocab.items()) {
      if (id.is_number_integer()) ids[token] = id.get<std::int64_t>();
    }
  } else if (vocab.is_array()) {  // of a unigram model: [token, score]
    for (const json& entry : vocab) {
      if (entry.is_array() && !entry.empty() && entry[0].is_string()) {
        ids.emplace(entry[0].get<std::string>(), static_cast<std::int64_t>(ids.size()));
      }
    }
  }
  const std::size_t expected = vocab.is_structured() ? vocab.size() : 0;
  if (ids.empty() || ids.size() != expected) {
    refuse(path, "expected a vocabulary of distinct tokens and integer ids");
  }
  return ids;
}

void place(HfVocabulary& out, const std::string& text, std::int64_t id, const fs::path& path) {
  if (id < 0 || id >= kMostIds) {
    refuse(path, "id " + std::to_string(id) + ": expected 0.." + std::to_string(kMostIds - 1));
  }
  if (id >= std::ssize(out.pieces)) out.pieces.resize(static_cast<std::size_t>(id) + 1);
  out.pieces[static_cast<std::size_t>(id)] = text;
}

std::optional<std::string> eos_of(const fs::path& folder) {
  const fs::path config = folder / "tokenizer_config.json";
  std::error_code ignored;
  if (!fs::exists(config, ignored)) return std::nullopt;
  const json root = read(config);
  if (!root.is_object() || !root.contains("eos_token")) return std::nullopt;
  const json& token = root.at("eos_token");
  if (token.is_string()) return token.get<std::string>();
  if (token.is_object() && token.value("content", json()).is_string()) return token.at("content");
  return std::nullopt;
}

std::int32_t end_of(const Ids& ids, const fs::path& path) {
  if (const auto named = eos_of(path.parent_path())) {
    const auto found = ids.find(*named);
    if (found != ids.end()) return static_cast<std::int32_t>(found->second);
  }
  std::string tried;
  for (const char* name : kEndNames) {
    const auto found = ids.find(name);
    if (found != ids.end()) return static_cast<std::int32_t>(found->second);
    tried += std::string(tried.empty() ? "" : ", ") + name;
  }
  refuse(path, "has no token that ends documents; expected one of " + tried +
                   ", or an eos_token in a tokenizer_config.json beside it");
}

HfVocabulary from_vocab_json(const fs::path& folder) {
  const fs::path path = folder / "vocab.json";
  HfVocabulary out;
  const Ids ids = ids_of(read(path), path);
  for (const auto& [token, id] : ids) place(out, byte_level_text(token), id, path);
  out.eod = end_of(ids, path);
  out.contents = core::read_file(path) + core::read_file(folder / "merges.txt");
  return out;
}

HfVocabulary from_tokenizer_json(const fs::path& path) {
  HfVocabulary out;
  const json root = read(path);
  const json model = root.value("model", json());
  if (!model.is_object())
    refuse(path, "expected an object \"model\", as the tokenizers library has");
  Ids ids = ids_of(model.value("vocab", json()), path);
  const bool bytes = is_byte_level(root.value("pre_tokenizer", json())) ||
                     is_byte_level(root.value("decoder", json()));
  for (const auto& [token, id] : ids) {
    place(out, bytes ? byte_level_text(token) : marked_text(token), id, path);
  }
  for (const json& added : root.value("added_tokens", json::array())) {
    const std::string token = added.value("content", "");
    const std::int64_t id = added.value("id", std::int64_t{-1});
    place(out, added.value("special", false) ? "" : token, id, path);
    ids[token] = id;
  }
  out.eod = end_of(ids, path);
  out.contents = core::read_file(path);
  return out;
}

}  // namespace

HfVocabulary read_hf_vocabulary(const fs::path& path) {
  std::error_code ignored;
  return !fs::is_directory(path, ignored) ? from_tokenizer_json(path)
         : fs::exists(path / "tokenizer.json", ignored)
             ? from_tokenizer_json(path / "tokenizer.json")
             : from_vocab_json(path);
}

}  // namespace strait::input
