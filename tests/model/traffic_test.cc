#include "model/traffic.h"

#include <gtest/gtest.h>

namespace strait::model {
namespace {

config::Config config_of(config::AttentionKind kind, std::int64_t heads, std::int64_t kv_heads) {
  config::Config config;
  config.model.d_model = 2048;
  config.model.n_layers = 3;
  config.model.attention.kind = kind;
  config.model.attention.n_heads = heads;
  config.model.attention.n_kv_heads = kv_heads;
  config.model.attention.head_dim = 128;
  config.model.ffn.d_ff = 4096;
  config.train.micro_batch = 1;
  config.precision.compute = config::Compute::bf16;
  return config;
}

parallel::SequenceCut cut_of(std::int64_t length, int cp, int cp_rank, bool ring) {
  parallel::Mesh mesh;
  mesh.cp = cp;
  mesh.cp_rank = cp_rank;
  return {length, mesh, ring};
}

double bytes(const std::vector<BoundaryBytes>& terms, const std::string& boundary) {
  for (const BoundaryBytes& term : terms) {
    if (term.boundary == boundary) return term.bytes;
  }
  return 0;
}

TEST(Traffic, KeysOfCompressedAttentionAreAnEighthOfMha) {
  const auto latent = config_of(config::AttentionKind::ccgqa, 8, 2);  // C2 = 8
  const auto full = config_of(config::AttentionKind::mha, 16, 16);
  for (const bool ring : {false, true}) {
    const auto cut = cut_of(131072, 8, 3, ring);
    for (const char* boundary : {"cp keys", "cp key gradients"}) {
      const double of_latent = bytes(traffic_of(latent, cut), boundary);
      EXPECT_GT(of_latent, 0);
      EXPECT_EQ(8 * of_latent, bytes(traffic_of(full, cut), boundary)) << boundary;
    }
  }
}

TEST(Traffic, NumbersOfTheZaya1Example) {
  // 512 elements a token, 7 of 8 parts of 131072 tokens, bf16, forward: 117 MB; twice for backward.
  const auto config = config_of(config::AttentionKind::ccgqa, 8, 2);
  const auto inner = traffic_of(config, cut_of(131072, 8, 3, false));
  EXPECT_EQ(bytes(inner, "cp keys"), 3 * 2 * 7.0 * 16384 * 512 * 2);
  EXPECT_EQ(bytes(inner, "cp key gradients"), 3 * 7.0 * 16384 * 512 * 2);
  // 2 columns of 1280 channels and one of 128 delayed values for each of two neighbours.
  EXPECT_EQ(bytes(inner, "cp halo"), 3 * 2.0 * 2688 * 2);
  const auto first = traffic_of(config, cut_of(131072, 8, 0, false));
  EXPECT_EQ(bytes(first, "cp halo"), 3 * 1.0 * 2688 * 2);
  EXPECT_EQ(bytes(first, "cp halo gradients"), bytes(first, "cp halo"));
}

TEST(Traffic, RowsOfExpertsWhereAllAreChosenAlike) {
  config::Config config = config_of(config::AttentionKind::ccgqa, 8, 2);
  config.model.ffn.kind = config::FfnKind::moe;
  config.model.ffn.moe.n_experts = 16;
  config.model.ffn.moe.top_k = 2;
  config.parallel.ep = 4;
  const ExpertRows rows = balanced_rows(config, cut_of(4096, 1, 0, false));
  EXPECT_EQ(rows.sent, 3 * 4096.0 * 2 * 3 / 4);
  EXPECT_EQ(rows.received, rows.sent);
  const auto terms = expert_traffic_of(config, rows);
  EXPECT_EQ(bytes(terms, "ep offsets"), 3 * 3.0 * 17 * 4);
  EXPECT_EQ(bytes(terms, "ep rows"), 2 * rows.sent * 2048 * 2);
  EXPECT_EQ(bytes(terms, "ep row gradients"), rows.sent * 2048 * 2);
  config.train.recompute = config::Recompute::block;
  EXPECT_EQ(bytes(expert_traffic_of(config, rows), "ep rows"), 3 * rows.sent * 2048 * 2);
  config.parallel.ep = 1;
  EXPECT_TRUE(expert_traffic_of(config, rows).empty());
}

TEST(Traffic, OneRankSendsNothing) {
  EXPECT_TRUE(
      traffic_of(config_of(config::AttentionKind::ccgqa, 8, 2), cut_of(4096, 1, 0, false)).empty());
}

}  // namespace
}  // namespace strait::model
