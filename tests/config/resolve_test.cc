#include "config/resolve.h"

#include "tests/config/helpers.h"

namespace strait::config {
namespace {

Config load_valid(const std::vector<std::string>& overrides, std::int64_t ranks = 1) {
  return load_text(valid_json(), "folder/origin.json", overrides, ranks);
}

TEST(Resolve, DerivesWhatWasLeftOpen) {
  const Config config = load_valid({}, 4);
  EXPECT_EQ(config.run.name, "origin");
  EXPECT_EQ(config.model.vocab_size, 257);
  EXPECT_EQ(config.model.attention.head_dim, 16);
  EXPECT_EQ(config.parallel.dp, 4);
  EXPECT_EQ(config.train.micro_batch, 2);
}

TEST(Resolve, KeepsWhatWasGiven) {
  const Config config = load_valid({"run.name=mine", "model.vocab_size=300", "parallel.dp=2",
                                    "model.attention.head_dim=8", "train.micro_batch=1"},
                                   2);
  EXPECT_EQ(config.run.name, "mine");
  EXPECT_EQ(config.model.vocab_size, 300);
  EXPECT_EQ(config.model.attention.head_dim, 8);
  EXPECT_EQ(config.parallel.dp, 2);
  EXPECT_EQ(config.train.micro_batch, 1);
}

TEST(Resolve, RefusesRanksThatTheOtherAxesDoNotDivide) {
  const std::string message = message_of([] { load_valid({"parallel.tp=2"}, 3); });
  EXPECT_TRUE(contains(message, "parallel.tp = 2: cp * tp = 2 must divide")) << message;
  EXPECT_TRUE(contains(message, "start 2 or 4 ranks")) << message;
}

TEST(Resolve, RandomIdsAreNoFile) {
  EXPECT_EQ(load_valid({"data.train=random"}).data.train, "random");
}

TEST(Resolve, KeyValueHeadsFollowTheKind) {
  EXPECT_EQ(
      load_valid({R"(model.attention={"kind":"mha","n_kv_heads":0})"}).model.attention.n_kv_heads,
      4);
  EXPECT_EQ(
      load_valid({R"(model.attention={"kind":"cca","n_kv_heads":0})"}).model.attention.n_kv_heads,
      4);
  EXPECT_EQ(load_valid({"model.attention.n_kv_heads=1"}).model.attention.n_kv_heads, 1);
}

TEST(Resolve, HeadDimOfMlaIsTheSumOfItsParts) {
  const Config config = load_valid(
      {R"(model.attention={"kind":"mla","n_kv_heads":0,"mla":{"kv_rank":16,"nope_dim":8,)"
       R"("rope_dim":4,"value_dim":6}})"});
  EXPECT_EQ(config.model.attention.head_dim, 12);
  EXPECT_EQ(config.model.attention.n_kv_heads, 4);
  EXPECT_EQ(rope_dims(config.model.attention), 4);
}

TEST(Resolve, RotaryChannelsAreAFractionOfTheHead) {
  EXPECT_EQ(rope_dims(load_valid({}).model.attention), 16);
  EXPECT_EQ(rope_dims(load_valid({"model.attention.rope.fraction=0.5"}).model.attention), 8);
  EXPECT_EQ(rope_dims(load_valid({"model.attention.rope.fraction=0"}).model.attention), 0);
  EXPECT_EQ(
      rope_dims(load_valid({"model.attention.head_dim=20", "model.attention.rope.fraction=0.3"})
                    .model.attention),
      6);
}

TEST(Resolve, TwiceIsOnce) {
  const Config config = load_valid({}, 2);
  EXPECT_EQ(to_json(resolve(config, {.ranks = 2}, "other")), to_json(config));
}

TEST(Resolve, AsksForTheVocabularyOfAnUnknownTokenizer) {
  const Config config = read_text(valid_json(), "origin", {"data.tokenizer=words"});
  const auto words = [](const std::string& name) -> std::int64_t {
    return name == "words" ? 1000 : 0;
  };
  EXPECT_EQ(resolve(config, {.vocab_of = words}, "origin").model.vocab_size, 1000);
  const Config small =
      read_text(valid_json(), "o", {"data.tokenizer=words", "model.vocab_size=999"});
  const std::string message = message_of([&] { resolve(small, {.vocab_of = words}, "o"); });
  EXPECT_TRUE(contains(message, "model.vocab_size = 999: must be at least the 1000")) << message;
}

TEST(Resolve, CudaBuildsTakeBf16AndCuda) {
  const Config config =
      read_text(valid_json(), "origin", {"precision.compute=bf16", "run.device=cuda"});
  EXPECT_EQ(resolve(config, {.cuda = true}, "origin").precision.compute, Compute::bf16);
}

TEST(Resolve, FilesOfTheSourceTreeAreFoundFromAnywhere) {
  const Config config = load_valid({"data.train=configs/README.md", "data.val=configs/README.md"});
  EXPECT_TRUE(std::filesystem::exists(config.data.train)) << config.data.train;
  EXPECT_TRUE(std::filesystem::exists(config.data.val)) << config.data.val;
}

TEST(InitFrom, LeavesTheModelToTheCheckpoint) {
  const std::string folder =
      std::filesystem::path(write_temporary("checkpoint/config.json", "{}")).parent_path().string();
  const std::string json = R"({"data": {"train": ")" + write_temporary("train.txt", "text\n") +
                           R"("}, "train": {"steps": 1, "batch_size": 1}, "init": {"from": ")" +
                           folder + R"("}})";
  const Config config = load_text(json, "origin", {}, 1);
  EXPECT_EQ(config.model.d_model, 0);
  EXPECT_EQ(config.init.from, folder);
  EXPECT_EQ(to_json(load_text(to_json(config), "origin", {}, 1)), to_json(config));
}

TEST(InitFrom, ValidatesTheModelOnceImported) {
  Config config = read_text(valid_json(), "origin", {"init.from=somewhere"});
  EXPECT_NO_THROW(validate(config, "origin"));
  config.model.attention.n_heads = 7;
  EXPECT_TRUE(contains(message_of([&] { validate(config, "origin"); }), "try 6 or 8"));
  config.model.attention.n_heads = -4;
  EXPECT_TRUE(contains(message_of([&] { validate(config, "origin"); }), "n_heads = -4: out of"));
}

TEST(Pattern, FirstLayersAreDenseThenEveryNthHasExperts) {
  const auto pattern = [](std::int64_t first_dense, std::int64_t every) {
    const Ffn ffn{.kind = FfnKind::moe, .moe = {.first_dense = first_dense, .every = every}};
    std::string kinds;
    for (int layer = 0; layer < 6; ++layer) {
      kinds += ffn_kind(ffn, layer) == FfnKind::moe ? 'm' : 'd';
    }
    return kinds;
  };
  EXPECT_EQ(pattern(0, 1), "mmmmmm");
  EXPECT_EQ(pattern(2, 1), "ddmmmm");
  EXPECT_EQ(pattern(0, 2), "dmdmdm");
  EXPECT_EQ(pattern(1, 3), "dddmdd");
  EXPECT_EQ(ffn_kind(Ffn{}, 0), FfnKind::dense);
}

}  // namespace
}  // namespace strait::config
