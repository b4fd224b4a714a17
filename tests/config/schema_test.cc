#include "config/schema.h"

#include <set>

#include "config/nearest.h"
#include "core/files.h"
#include "tests/config/helpers.h"

namespace strait::config {
namespace {

namespace fs = std::filesystem;

TEST(Schema, PathsAreUniqueAndBelongToSections) {
  std::set<std::string> seen;
  for (const Key& key : schema()) {
    EXPECT_TRUE(seen.insert(key.path).second) << key.path;
    EXPECT_EQ(find_key(key.path), &key);
  }
  for (const char* section : {"run", "model", "data", "optim", "train", "parallel", "precision",
                              "checkpoint", "eval", "model.attention.cca", "model.ffn.moe"}) {
    EXPECT_NE(std::find(sections().begin(), sections().end(), section), sections().end());
  }
  EXPECT_THROW(key_at("model"), std::logic_error);
}

TEST(Schema, EveryKeyIsBoundToAMemberOfItsOwn) {
  for (const Key& key : schema()) {
    Config config;
    const Value value = key.type == Type::boolean ? Value(!std::get<bool>(default_of(key)))
                        : key.type == Type::word  ? Value(std::string(key.words.back()))
                        : key.type == Type::text  ? Value(std::string("x"))
                        : key.type == Type::real  ? Value(123.5)
                                                  : Value(std::int64_t{123});
    key.set(config, value);
    for (const Key& other : schema()) {
      const bool is_set = other.get(config) == value && other.type == key.type;
      EXPECT_EQ(other.get(config) != default_of(other), &other == &key) << key.path << other.path;
      EXPECT_TRUE(is_set || &other != &key) << key.path;
    }
  }
}

TEST(Schema, EveryNumberHasAUnitAndEveryKeyAMeaning) {
  for (const Key& key : schema()) {
    const bool is_number = key.type == Type::integer || key.type == Type::real;
    EXPECT_EQ(key.unit.empty(), !is_number) << key.path;
    EXPECT_FALSE(key.meaning.empty()) << key.path;
    EXPECT_EQ(key.words.empty(), key.type != Type::word) << key.path;
    EXPECT_TRUE(!is_number || key.range.low < key.range.high) << key.path;
  }
}

TEST(Help, ListsEveryKeyWithDefaultUnitAndMeaning) {
  const std::string text = help_text();
  for (const Key& key : schema()) {
    const auto start = text.find("  " + key.path + " ");
    ASSERT_NE(start, std::string::npos) << key.path;
    const auto end = text.find('\n', text.find('\n', start) + 1);
    const std::string entry = text.substr(start, end - start);
    EXPECT_TRUE(contains(entry, key.required ? "required" : "default " + show(default_of(key))));
    EXPECT_TRUE(contains(entry, expected(key))) << entry;
    EXPECT_TRUE(contains(entry, std::string(key.unit))) << entry;
    EXPECT_TRUE(contains(entry, std::string(key.meaning))) << entry;
  }
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("model", "modle"), 1u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
}

// Any single slip in a key's own name leads back to a name at most one slip away.
TEST(Nearest, LeadsBackFromOneSlip) {
  for (const Key& key : schema()) {
    const auto leaf = key.path.rfind('.') + 1;
    for (std::size_t at = leaf; at < key.path.size(); ++at) {
      std::string slip = key.path;
      slip.erase(at, 1);
      const std::string found = nearest_path(slip);
      EXPECT_LE(edit_distance(slip, found), 1u) << slip << " gave " << found;
    }
  }
}

TEST(Nearest, IsTheKeyOfWhichSomeWordsAreLeftOutOrAdded) {
  EXPECT_EQ(nearest_path("train.batch"), "train.batch_size");
  EXPECT_EQ(nearest_path("train.max_steps"), "train.steps");
  EXPECT_EQ(nearest_path("model.vocab"), "model.vocab_size");
  EXPECT_EQ(nearest_path("optim.warmup"), "optim.warmup_steps");
  EXPECT_EQ(nearest_path("optim.grad_clip"), "optim.clip_norm");
  EXPECT_EQ(nearest_path("train.seq_len"), "data.seq_len");
}

std::vector<fs::path> shipped() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(STRAIT_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  return paths;
}

TEST(Shipped, EveryConfigLoadsOnOneAndTwoRanks) {
  ASSERT_GE(shipped().size(), 17u);
  for (const fs::path& path : shipped()) {
    for (const std::int64_t ranks : {1, 2}) {
      const Config config = load({.name = path.filename().string()}, ranks);
      EXPECT_EQ(config.run.name, path.stem().string());
      EXPECT_EQ(config.parallel.dp, ranks);
      EXPECT_EQ(to_json(load_text(to_json(config), "config.json", {}, ranks)), to_json(config));
    }
  }
}

TEST(Shipped, EveryConfigIsInTheReadme) {
  const std::string readme = core::read_file(fs::path(STRAIT_SOURCE_DIR) / "configs/README.md");
  for (const fs::path& path : shipped()) {
    const std::string name = path.stem().string();
    const std::string row = !name.starts_with("tiny_") || name == "tiny_zaya" ? "`" + name + "`"
                            : name.ends_with("_moe") ? "`tiny_{mha,gqa,mla,cca,ccgqa}_moe`"
                                                     : "`tiny_{mha,gqa,mla,cca,ccgqa}`";
    EXPECT_TRUE(contains(readme, row)) << name;
  }
}

TEST(Shipped, TheLargestModelIsZaya1) {
  const Config config = load({.name = "zaya1_8b"}, 1);
  const Model& model = config.model;
  EXPECT_EQ(model.n_layers, 40);
  EXPECT_EQ(model.d_model, 2048);
  EXPECT_EQ(model.vocab_size, 262272);
  EXPECT_EQ(rope_dims(model.attention), 64);
  EXPECT_EQ(model.ffn.moe.n_experts, 16);
  EXPECT_EQ(model.ffn.moe.router.width, 256);
  EXPECT_TRUE(model.residual_scale && model.tie_embeddings);
  EXPECT_EQ(config.precision.residual, ResidualStream::f32);
}

TEST(Shipped, TheLargeModelIsThePapers) {
  const Config config = load({.name = "ccgqa_moe"}, 1);
  const Model& model = config.model;
  EXPECT_EQ(model.n_layers, 28);
  EXPECT_EQ(model.d_model, 2048);
  EXPECT_EQ(model.vocab_size, 50304);
  EXPECT_EQ(model.attention.n_heads, 8);
  EXPECT_EQ(model.attention.n_kv_heads, 2);
  EXPECT_EQ(model.attention.head_dim, 128);
  EXPECT_EQ(model.ffn.moe.n_experts, 16);
  EXPECT_EQ(model.ffn.moe.top_k, 1);
  EXPECT_EQ(model.ffn.moe.d_expert, 448);
  EXPECT_EQ(config.data.seq_len, 4096);
}

}  // namespace
}  // namespace strait::config
