#include "model/count_table.h"

#include <gtest/gtest.h>

#include <map>

#include "config/load.h"
#include "model/counts.h"

namespace strait::model {
namespace {

config::Model preset(const std::string& name, const std::vector<std::string>& overrides = {}) {
  return config::load({.name = name, .overrides = overrides}, 1).model;
}

std::map<std::string, LayerCost> rows(const config::Model& model, std::int64_t seq_len) {
  std::map<std::string, LayerCost> costs;
  for (const TableRow& row : attention_table(table_symbols(model, seq_len))) {
    costs[row.variant] = row.cost;
  }
  return costs;
}

// D = 2048, d = 128, cq 2, ckv 4, rope 64, S = 16384: the table leaves out the rope columns.
TEST(AttentionTable, MlaBesideItsDirectCount) {
  const config::Model model = preset("dense_mla");
  const LayerCost table = rows(model, 16384).at("MLA");
  const DirectCount direct = direct_count(model, 16384);
  EXPECT_NEAR(table.parameters, 11.53e6, 5e3);
  EXPECT_NEAR(static_cast<double>(direct.count.multiplied()), 12.71e6, 5e3);
  EXPECT_NEAR(table.forward_flops, 2.577e12, 5e8);
  EXPECT_NEAR(direct.cost.forward_flops, 3.165e12, 5e8);
  EXPECT_FALSE(table.decode_flops);
  EXPECT_EQ(direct.cost.cache, 16384 * 576.0);
  double rope_columns = 0;
  for (const AttentionItem& item : direct.count.items) {
    if (item.name.ends_with("rope columns")) rope_columns += static_cast<double>(item.parameters);
  }
  EXPECT_EQ(static_cast<double>(direct.count.multiplied()) - rope_columns, table.parameters);
}

// Every other row is exact: vectors apart, it is what the layer of that kind multiplies by.
TEST(AttentionTable, OtherRowsEqualTheirDirectCounts) {
  const std::map<std::string, std::string> variants = {
      {"dense_mha", "MHA"}, {"dense_gqa", "GQA"}, {"dense_cca", "CCA"}, {"dense_ccgqa", "CCGQA"}};
  for (const auto& [name, variant] : variants) {
    for (const std::int64_t S : {1, 4096, 16384}) {
      const config::Model model = preset(name);
      const LayerCost table = rows(model, S).at(variant);
      const DirectCount direct = direct_count(model, S);
      EXPECT_EQ(table.parameters, static_cast<double>(direct.count.multiplied())) << name;
      EXPECT_EQ(table.cache, direct.cost.cache) << name;
      EXPECT_EQ(table.forward_flops, direct.cost.forward_flops) << name;
      EXPECT_EQ(table.decode_flops, direct.cost.decode_flops) << name;
    }
  }
}

TEST(AttentionTable, ConvolutionSwitchesAndTapsReachTheTable) {
  for (const char* override : {"convs=0", "convs=1", "taps_grouped=4", "taps_depthwise=3"}) {
    const config::Model model =
        preset("dense_ccgqa", {std::string("model.attention.cca.") + override});
    EXPECT_EQ(rows(model, 512).at("CCGQA").forward_flops,
              direct_count(model, 512).cost.forward_flops)
        << override;
  }
}

TEST(AttentionTable, PaperMixtureSymbols) {
  const TableSymbols t = table_symbols(preset("ccgqa_moe"), 4096);
  EXPECT_EQ(t.D, 2048);
  EXPECT_EQ(t.C1, 2);
  EXPECT_EQ(t.C2, 8);
  EXPECT_EQ(t.g, 4);
  // Written out: 2 D^2 / C1 + 2 D^2 / C2 + (e n0 + (e^2 / h) n1), e = 10 * 128, h = 10.
  const double convolutions = 1280 * 2 + 1280.0 * 1280.0 / 10 * 2;
  const LayerCost row = rows(preset("ccgqa_moe"), 4096).at("CCGQA");
  EXPECT_EQ(row.parameters, 4194304 + 1048576 + convolutions);
  EXPECT_EQ(row.cache, 2 * 4096 * 2048.0 / 8);
}

TEST(AttentionTable, CompressionOfOneIsMha) {
  const auto table = rows(preset("dense_mha"), 1024);
  EXPECT_EQ(table.at("GQA").parameters, table.at("MHA").parameters);
  EXPECT_EQ(table.at("GQA").forward_flops, table.at("MHA").forward_flops);
  EXPECT_GT(table.at("CCA").parameters, table.at("MHA").parameters) << "convolutions come on top";
}

TEST(DirectCount, ItemsAreTheLayersParameters) {
  for (const char* name :
       {"dense_mha", "dense_gqa", "dense_mla", "dense_cca", "dense_ccgqa", "tiny_mla_moe"}) {
    const config::Model model = preset(name);
    std::int64_t attention = 0;
    for (const PartCount& part : count_model(model).parts) {
      if (part.part.starts_with("attention")) attention += part.parameters;
    }
    EXPECT_EQ(model.n_layers * direct_count(model, 1).count.parameters(), attention) << name;
  }
}

// Weights once; scores against kv_rank + rope_dim and values of kv_rank per head and cached token.
TEST(DirectCount, MlaDecodesInTwoWays) {
  const DirectCount direct = direct_count(preset("dense_mla"), 1000);
  ASSERT_EQ(direct.decode.size(), 2u);
  const double weights = 12713984, up = 512.0 * 16 * 256;
  EXPECT_EQ(direct.decode[0].flops, 2 * (weights - up) + 1000 * (2 * up + 2.0 * 16 * 320));
  EXPECT_EQ(direct.decode[1].flops, 2 * weights + 1000 * (2.0 * 16 * (576 + 512)));
}

}  // namespace
}  // namespace strait::model
