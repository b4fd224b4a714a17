#include "config/resolve.h"

#include <cmath>
#include <filesystem>

#include "config/data_list.h"
#include "config/load.h"
#include "config/rules.h"
#include "core/error.h"

namespace strait::config {
namespace {

namespace fs = std::filesystem;

void resolve_device(const Rules& rules, const World& world) {
  if (world.cuda) return;
  const Config& config = rules.config();
  if (config.run.device == Device::cuda) {
    rules.fail("run.device",
               "there is no GPU that this build can use; expected cpu or auto, or a build with "
               "CUDA (scripts/build.sh cuda) where there is one");
  }
  if (config.precision.compute == Compute::bf16) {
    rules.fail("precision.compute",
               "needs a GPU and a build with CUDA; expected f32 or f64 on the cpu");
  }
}

void resolve_model(Config& config, const Rules& rules, std::int64_t tokens) {
  if (awaits_import(config)) return;
  Model& model = config.model;
  if (model.vocab_size == 0) model.vocab_size = tokens;
  if (model.vocab_size < tokens) {
    rules.fail("model.vocab_size", "must be at least the " + std::to_string(tokens) +
                                       " tokens of " + rules.quote("data.tokenizer") +
                                       "; raise it, or leave it out to use that number");
  }
  model.attention.n_kv_heads = kv_heads(model.attention);
  model.attention.head_dim = head_dim(model);
}

void resolve_files(std::string& list, const char* path, const Rules& rules) {
  std::vector<DataPart> parts = data_parts(list);
  for (DataPart& part : parts) {
    const std::string why = why_no_data(part.path);
    if (!why.empty()) rules.fail(path, why);
    part.path = is_pattern(part.path)
                    ? matching_files(part.path)[0].parent_path() / fs::path(part.path).filename()
                    : locate(part.path);
  }
  list = data_list(parts);
}

void resolve_init(std::string& folder, const Rules& rules) {
  if (folder.empty()) return;
  const fs::path found = locate(folder);
  std::error_code ignored;
  if (!fs::is_directory(found, ignored)) {
    rules.fail("init.from", "no such folder; expected one with config.json and *.safetensors");
  }
  if (!fs::exists(found / "config.json", ignored)) {
    rules.fail("init.from", "has no config.json; expected a Hugging Face checkpoint");
  }
  folder = found.string();
}

void resolve_ranks(Config& config, const Rules& rules, const World& world) {
  Parallel& parallel = config.parallel;
  const std::int64_t others = parallel.cp * parallel.tp;
  if (parallel.dp == 0 && world.ranks % others != 0) {
    rules.fail(parallel.tp > 1 ? "parallel.tp" : "parallel.cp",
               "cp * tp = " + std::to_string(others) + " must divide the number of ranks, " +
                   std::to_string(world.ranks) + "; start " + multiples_near(world.ranks, others) +
                   " ranks (mpirun -n), or lower it");
  }
  if (parallel.dp == 0) parallel.dp = world.ranks / others;
  if (parallel.dp * others != world.ranks) {
    rules.fail("parallel.dp", "dp * cp * tp = " + std::to_string(parallel.dp * others) +
                                  " must equal the number of ranks, " +
                                  std::to_string(world.ranks) + "; leave dp at 0, or start " +
                                  std::to_string(parallel.dp * others) + " ranks (mpirun -n)");
  }
  if (parallel.dp % parallel.ep != 0) {
    rules.fail("parallel.ep", "must divide " + rules.quote("parallel.dp") +
                                  ", the ranks that share out the experts; lower it or start more "
                                  "ranks");
  }
  if (world.ranks > 1 && config.precision.gradients == Storage::bf16) {
    rules.fail("precision.gradients", "is summed over ranks in float32 alone; set it to wide");
  }
  Train& train = config.train;
  if (train.batch_size % parallel.dp != 0) {
    rules.fail("train.batch_size", "must be divisible by " + rules.quote("parallel.dp") +
                                       " (ranks that split the batch); try " +
                                       multiples_near(train.batch_size, parallel.dp));
  }
  const std::int64_t per_rank = train.batch_size / parallel.dp;
  if (train.micro_batch == 0) train.micro_batch = per_rank;
  if (per_rank % train.micro_batch != 0) {
    rules.fail("train.micro_batch", "must divide the " + std::to_string(per_rank) +
                                        " sequences of a rank (" + rules.quote("train.batch_size") +
                                        ", " + rules.quote("parallel.dp") +
                                        "); leave it at 0 for all");
  }
}

}  // namespace

std::int64_t tokenizer_size(const Config& config, const VocabOf& vocab_of, const Origins& origins) {
  const Rules rules(config, origins);
  const std::string& name = config.data.tokenizer;
  try {
    if (vocab_of) return vocab_of(name);
  } catch (const core::InputError& error) {
    rules.fail("data.tokenizer", error.what());
  }
  if (name != "bytes") rules.fail("data.tokenizer", "unknown tokenizer; nearest is \"bytes\"");
  return kByteTokens;
}

Config resolve(Config config, const World& world, const Origins& origins) {
  const Rules rules(config, origins);
  if (config.run.name.empty()) config.run.name = fs::path(origins.file()).stem().string();
  resolve_device(rules, world);
  resolve_model(config, rules, tokenizer_size(config, world.vocab_of, origins));
  resolve_init(config.init.from, rules);
  if (config.data.train != kRandomTokens) resolve_files(config.data.train, "data.train", rules);
  resolve_files(config.data.val, "data.val", rules);
  resolve_ranks(config, rules, world);
  return config;
}

std::int64_t kv_heads(const Attention& attention) {
  return attention.n_kv_heads == 0 ? attention.n_heads : attention.n_kv_heads;
}

std::int64_t head_dim(const Model& model) {
  const Attention& attention = model.attention;
  if (attention.kind == AttentionKind::mla) return attention.mla.nope_dim + attention.mla.rope_dim;
  return attention.head_dim == 0 ? model.d_model / attention.n_heads : attention.head_dim;
}

FfnKind ffn_kind(const Ffn& ffn, std::int64_t layer) {
  if (ffn.kind == FfnKind::dense || layer < ffn.moe.first_dense) return FfnKind::dense;
  const bool last_of_its_group = (layer - ffn.moe.first_dense + 1) % ffn.moe.every == 0;
  return last_of_its_group ? FfnKind::moe : FfnKind::dense;
}

bool is_cca(AttentionKind kind) {
  return kind == AttentionKind::cca || kind == AttentionKind::ccgqa;
}

std::int64_t history_columns(const Cca& cca) {
  return (cca.convs >= 1 ? cca.taps_depthwise - 1 : 0) +
         (cca.convs >= 2 ? cca.taps_grouped - 1 : 0);
}

bool slides(const Attention& attention, std::int64_t layer) {
  const std::string& pattern = attention.sliding.pattern;
  return !pattern.empty() && pattern[static_cast<std::size_t>(layer) % pattern.size()] == 's';
}

std::int64_t mixtures_before(const Ffn& ffn, std::int64_t layer) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < layer; ++i) count += ffn_kind(ffn, i) == FfnKind::moe;
  return count;
}

std::int64_t rope_dims(const Attention& attention) {
  if (attention.kind == AttentionKind::mla) return attention.mla.rope_dim;
  return std::llround(attention.rope.fraction * static_cast<double>(attention.head_dim));
}

}  // namespace strait::config
