#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "ablate/cell.h"
#include "config/data_list.h"
#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

const std::filesystem::path kFolder =
    std::filesystem::path(STRAIT_SOURCE_DIR) / "configs/ablations";
const std::set<std::string> kSweeps = {"attention_dense", "attention_moe", "components_dense",
                                       "components_moe", "controls"};

/// A shipped sweep at one size, matched.
struct Shipped {
  Sweep sweep;
  std::vector<Solved> variants;
  std::vector<Cell> cells;
};

Shipped shipped(const std::string& name, const std::string& size) {
  const std::filesystem::path path = kFolder / (name + ".json");
  Shipped all{
      .sweep = read_sweep(core::read_file(path), path.string(), size), .variants = {}, .cells = {}};
  all.variants = match(all.sweep, expand(all.sweep, {}));
  all.cells = main_cells(all.sweep, all.variants, {});
  return all;
}

TEST(Shipped, FolderHoldsTheSweepsThatItsReadmeNames) {
  const std::string readme = core::read_file(kFolder / "README.md");
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".json") found.insert(entry.path().stem().string());
  }
  EXPECT_EQ(found, kSweeps);
  for (const std::string& name : kSweeps) {
    EXPECT_NE(readme.find("| `" + name + "`"), std::string::npos) << name;
  }
}

TEST(Shipped, EveryBaseIsAConfig) {
  std::size_t bases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder / "base")) {
    const config::Config config = config::read({.name = entry.path().string()});
    EXPECT_NO_THROW(config::validate(config, entry.path().string()));
    ++bases;
  }
  EXPECT_EQ(bases, 6u);
}

TEST(Shipped, EverySizeIsMatched) {
  for (const std::string& name : kSweeps) {
    for (const char* size : {"tiny", "small", "paper"}) {
      const Shipped all = shipped(name, size);
      EXPECT_EQ(all.sweep.name, name + "_" + size);
      ASSERT_TRUE(all.sweep.match) << name;
      EXPECT_GE(all.variants.size(), 5u);
      for (const Solved& one : all.variants) {
        EXPECT_LE(std::abs(one.deviation), all.sweep.match->tolerance) << name << " " << size;
      }
    }
  }
}

// What makes the small ones worth comparing.
TEST(Shipped, SmallIsLargeEnough) {
  for (const std::string& name : kSweeps) {
    const Shipped all = shipped(name, "small");
    const bool components = name.starts_with("components");
    EXPECT_GE(all.sweep.seeds.size(), components ? 2u : 3u);
    EXPECT_TRUE(all.sweep.tune) << "each variant has its own learning rate";
    for (const Solved& one : all.variants) {
      EXPECT_GE(one.counts.non_embedding_parameters, 25e6) << one.variant.spec.name;
      EXPECT_LE(one.counts.non_embedding_parameters, 60e6) << one.variant.spec.name;
    }
    for (const Cell& cell : all.cells) EXPECT_GE(cell.tokens(), 60e6) << cell.name();
  }
}

TEST(Shipped, TinyTakesMinutesOnACpu) {
  double flops = 0;
  for (const std::string& name : kSweeps) {
    for (const Cell& cell : shipped(name, "tiny").cells) flops += cell.train_flops;
  }
  EXPECT_LE(flops, 5e12) << "some minutes at 1e10 FLOP/s";
}

/// Cached channels per token and layer, by variant.
std::map<std::string, double> caches(const std::string& name, const std::string& size) {
  std::map<std::string, double> all;
  for (const Solved& one : shipped(name, size).variants) {
    all[one.variant.spec.name] = one.counts.kv_channels_per_token_layer;
  }
  return all;
}

// The paper matches the caches too: a quarter of MHA's.
TEST(Shipped, DenseCachesAreAQuarter) {
  for (const char* size : {"tiny", "small"}) {
    const auto cache = caches("attention_dense", size);
    for (const char* name : {"gqa", "mla", "cca", "ccgqa"}) {
      EXPECT_EQ(cache.at(name), cache.at("mha") / 4) << name << " " << size;
    }
  }
  const auto paper = caches("attention_dense", "paper");
  EXPECT_EQ(paper.at("mha"), 4096);
  EXPECT_EQ(paper.at("ccgqa"), 1024);
  EXPECT_EQ(paper.at("mla"), 576) << "rank 512 and 64 of the rotated key, as published";
  EXPECT_EQ(caches("attention_moe", "paper").at("ccgqa"), 512) << "C2 = 8";
}

// The paper's own sizes are those of the presets that train them alone.
TEST(Shipped, PaperSizesAreThePresets) {
  for (const Solved& one : shipped("attention_dense", "paper").variants) {
    const std::string& name = one.variant.spec.name;
    const config::Config preset = config::read({.name = "dense_" + name});
    EXPECT_NEAR(static_cast<double>(one.variant.config.model.ffn.d_ff),
                static_cast<double>(preset.model.ffn.d_ff), 40)
        << name;
    EXPECT_EQ(one.variant.config.model.attention.n_heads, preset.model.attention.n_heads) << name;
  }
  const Solved ccgqa = shipped("attention_moe", "paper").variants.back();
  EXPECT_EQ(ccgqa.counts.total_parameters,
            count(config::read({.name = "ccgqa_moe"})).total_parameters);
}

}  // namespace
}  // namespace strait::test
