#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "config/config.h"
#include "config/origins.h"

namespace strait::config {

/// Number of tokens of the tokenizer that data.tokenizer names; throws InputError for a name it
/// does not know. Empty: only "bytes" is known.
using VocabOf = std::function<std::int64_t(const std::string& tokenizer)>;

/// What a config cannot know by itself.
struct World {
  std::int64_t ranks = 1;  // MPI ranks of the run
  bool cuda = false;       // the build has the CUDA backend
  VocabOf vocab_of = {};
};

/// Tokens of the built-in tokenizer: the 256 bytes and the end of a document.
inline constexpr std::int64_t kByteTokens = 257;

/// Fills in what a valid config leaves open (run.name, vocab_size, n_kv_heads, head_dim,
/// micro_batch, dp), replaces input paths by what locate() finds, and checks the rules that the
/// world takes part in: files, ranks, device, vocabulary. The model is left alone where validate()
/// leaves it alone. Throws InputError as validate() does. resolve(resolve(c)) == resolve(c).
Config resolve(Config config, const World& world, const Origins& origins);

/// Tokens of data.tokenizer. Throws InputError as validate() does.
std::int64_t tokenizer_size(const Config& config, const VocabOf& vocab_of, const Origins& origins);

/// Key/value heads, also where n_kv_heads = 0 stands for n_heads.
std::int64_t kv_heads(const Attention& attention);

/// Width of a query/key head, also where head_dim = 0 leaves it to be derived.
std::int64_t head_dim(const Model& model);

}  // namespace strait::config
