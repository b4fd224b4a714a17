#include "config/load.h"

#include "config/words.h"
#include "tests/config/helpers.h"

namespace strait::config {
namespace {

namespace fs = std::filesystem;

Config load_valid(const std::vector<std::string>& overrides, std::int64_t ranks = 1) {
  return load_text(valid_json(), "folder/origin.json", overrides, ranks);
}

/// A value of the key's type and range that is not its default.
Value other_value(const Key& key) {
  const Value standard = default_of(key);
  if (key.type == Type::boolean) return !std::get<bool>(standard);
  if (key.type == Type::word) return std::string(key.words.back());
  if (key.type == Type::text) return std::string("a \"b\"\\\n\xc3\xa9");
  if (key.type == Type::real) return std::get<double>(standard) * 0.7 + 0.1;
  const std::int64_t up = std::get<std::int64_t>(standard) + 1;
  return accepts(key, up) ? up : up - 2;
}

TEST(RoundTrip, EveryKeySurvivesWritingAndReading) {
  Config config;
  for (const Key& key : schema()) {
    const Value value = other_value(key);
    ASSERT_TRUE(accepts(key, value)) << key.path;
    key.set(config, value);
  }
  const Config again = read_text(to_json(config), "origin", {});
  for (const Key& key : schema()) {
    EXPECT_NE(key.get(again), default_of(key)) << key.path;
    EXPECT_EQ(show(key.get(again)), show(key.get(config))) << key.path;
    EXPECT_TRUE(key.get(again) == key.get(config)) << key.path;
  }
}

TEST(RoundTrip, AResolvedConfigReproducesItself) {
  for (const std::int64_t ranks : {1, 2, 4}) {
    const Config config = load_valid({"optim.lr=0.1234567890123456789", "run.seed=12345"}, ranks);
    const std::string json = to_json(config);
    EXPECT_EQ(to_json(load_text(json, "elsewhere/config.json", {}, ranks)), json);
  }
}

TEST(RoundTrip, DefaultsReproduceThemselves) {
  EXPECT_EQ(to_json(read_text(to_json(Config{}), "origin", {})), to_json(Config{}));
  EXPECT_EQ(to_json(read_text("{}", "origin", {})), to_json(Config{}));
}

TEST(RoundTrip, KeysAreWrittenInTheOrderOfTheTableTwoSpacesDeep) {
  const std::string json = to_json(Config{});
  std::size_t at = 0;
  for (const Key& key : schema()) {
    const std::string leaf = key.path.substr(key.path.rfind('.') + 1);
    const auto found = json.find("\"" + leaf + "\": ", at);
    ASSERT_NE(found, std::string::npos) << key.path;
    at = found;
  }
  EXPECT_TRUE(contains(json, "{\n  \"run\": {\n    \"name\": \"\",\n"));
}

TEST(Overrides, ComeInOrderAfterTheFile) {
  const Config config = load_valid({"train.steps=20", "train.steps=30", "optim.lr=1e-2"});
  EXPECT_EQ(config.train.steps, 30);
  EXPECT_EQ(config.optim.lr, 1e-2);
  EXPECT_EQ(config.train.batch_size, 8);
}

TEST(Overrides, TakeJsonOrText) {
  const Config config =
      load_valid({"run.name=123", "eval.sample_tokens=8", "eval.sample_prompt=\"a\\nb\"",
                  "train.steps=1e3", "model.tie_embeddings=true", "optim.schedule=\"linear\""});
  EXPECT_EQ(config.run.name, "123");
  EXPECT_EQ(config.eval.sample_prompt, "a\nb");
  EXPECT_EQ(config.train.steps, 1000);
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.optim.schedule, ScheduleKind::linear);
}

TEST(Overrides, TextMayHoldEqualsSignsAndBrackets) {
  EXPECT_EQ(load_valid({"run.name=a=b"}).run.name, "a=b");
  EXPECT_EQ(load_valid({"run.name=[a"}).run.name, "[a");
}

TEST(Overrides, AnObjectSetsSeveralKeysOfASection) {
  const Config config = load_valid({R"(optim={"lr": 0.5, "beta1": 0.8})"});
  EXPECT_EQ(config.optim.lr, 0.5);
  EXPECT_EQ(config.optim.beta1, 0.8);
  EXPECT_EQ(config.optim.beta2, Optim{}.beta2);
}

TEST(Extends, TheFileOverridesItsBaseKeyByKey) {
  write_temporary("base.json", valid_json());
  const std::string path = write_temporary(
      "child.json", R"({"extends": "base", "train": {"steps": 77}, "model": {"n_layers": 5}})");
  const Config config = load({.name = path, .overrides = {"model.n_layers=6"}}, 1);
  EXPECT_EQ(config.train.steps, 77);
  EXPECT_EQ(config.train.batch_size, 8);
  EXPECT_EQ(config.model.n_layers, 6);
  EXPECT_EQ(config.model.d_model, 64);
  EXPECT_EQ(config.run.name, "child");
  EXPECT_FALSE(contains(to_json(config), "extends"));
}

TEST(Extends, FindsShippedConfigsFromAnywhere) {
  const Config config = read_text(R"({"extends": "tiny_mha.json"})", "far/away.json", {});
  EXPECT_EQ(config.model.attention.kind, AttentionKind::mha);
}

TEST(Extends, MoreThanOneLevelIsRefused) {
  write_temporary("one.json", valid_json());
  write_temporary("two.json", R"({"extends": "one"})");
  const std::string path = write_temporary("three.json", R"({"extends": "two"})");
  const std::string message = message_of([&] { load({.name = path}, 1); });
  EXPECT_TRUE(contains(message, "two.json: extends = \"one\"")) << message;
  EXPECT_TRUE(contains(message, "three.json; only one level")) << message;
}

TEST(Extends, ItselfIsRefused) {
  const std::string path = write_temporary("self.json", R"({"extends": "self"})");
  EXPECT_TRUE(contains(message_of([&] { load({.name = path}, 1); }), "only one level"));
}

TEST(Extends, MistakesNameTheFileTheyAreIn) {
  write_temporary("bad_base.json", R"({"train": {"stebs": 1}})");
  const std::string path = write_temporary("good.json", R"({"extends": "bad_base"})");
  const std::string message = message_of([&] { load({.name = path}, 1); });
  EXPECT_TRUE(contains(message, "bad_base.json: train.stebs: unknown key")) << message;
}

TEST(Extends, ValuesThatOthersForbidNameTheFileTheyAreIn) {
  const std::string json = valid_json();
  write_temporary("wide_base.json", json);
  const std::string path =
      write_temporary("narrow.json", R"({"extends": "wide_base", "train": {"micro_batch": 3}})");
  const std::string message = message_of([&] { load({.name = path}, 1); });
  EXPECT_TRUE(contains(message, "wide_base.json: train.batch_size = 8: must be")) << message;
}

TEST(Overrides, AreNamedWhereTheirValueIsWrongAndTheFileWhereItsOwnIs) {
  const std::string path = write_temporary("overridden.json", valid_json());
  const auto refuse = [&](const std::vector<std::string>& overrides) {
    return message_of([&] { load({.name = path, .overrides = overrides}, 1); });
  };
  EXPECT_EQ(refuse({"data.train=no/such.txt"}).find("--set data.train=no/such.txt: data.train = "),
            0u);
  EXPECT_EQ(refuse({"data={\"val\":\"no.txt\"}"}).find("--set data={"), 0u);
  EXPECT_EQ(refuse({"data.train=no/such.txt", "data.train=nor.txt"}).find("--set data.train=nor"),
            0u);
  const std::string message = refuse({"train.micro_batch=3"});
  EXPECT_TRUE(contains(message, "overridden.json: train.batch_size = 8: ")) << message;
  EXPECT_TRUE(contains(message, "divisible by train.micro_batch = 3 (--set);")) << message;
}

TEST(Overrides, LeaveTheNameOfTheRunToTheFile) {
  const std::string path = write_temporary("named.json", valid_json());
  EXPECT_EQ(load({.name = path, .overrides = {"run.seed=3"}}, 1).run.name, "named");
}

TEST(Presets, GoByTheirOptionAndComeBeforeOverrides) {
  const std::string path = write_temporary("preset.json", valid_json());
  Source source{.name = path,
                .preset = {.origin = "--layout tp3", .assignments = {"parallel.tp=3"}}};
  EXPECT_EQ(message_of([&] { load(source, 3); }).find("--layout tp3: parallel.tp = 3: must"), 0u);
  source.overrides = {"parallel.tp=2"};
  EXPECT_EQ(load(source, 2).parallel.tp, 2);
}

TEST(Extends, OfTheWrongTypeOrWithoutFileIsRefused) {
  const auto refuse = [](const std::string& json) {
    return message_of([&] { read_text(json, "origin", {}); });
  };
  EXPECT_TRUE(contains(refuse(R"({"extends": 3})"), "extends = 3: expected the name"));
  EXPECT_TRUE(contains(refuse(R"({"extends": ""})"), "extends = \"\""));
  EXPECT_TRUE(contains(refuse(R"({"extends": "quikstart"})"), "nearest is quickstart.json"));
}

TEST(Names, AreFoundWithAndWithoutSuffix) {
  const std::string expected_end = "configs/quickstart.json";
  for (const char* name : {"quickstart", "quickstart.json", "configs/quickstart.json"}) {
    const std::string origin = name[0] == 'c' ? locate(name).string() : origin_of({.name = name});
    EXPECT_TRUE(origin.ends_with(expected_end)) << origin;
  }
}

TEST(Names, OfNoConfigAreRefusedWithTheNearest) {
  const std::string message = message_of([] { load({.name = "quikstart.json"}, 1); });
  EXPECT_TRUE(contains(message, "\"quikstart.json\"")) << message;
  EXPECT_TRUE(contains(message, "nearest is quickstart.json")) << message;
  EXPECT_TRUE(contains(message_of([] { load({}, 1); }), "--config"));
  EXPECT_TRUE(contains(message_of([] { load({.name = "/"}, 1); }), "no config \"/\""));
}

TEST(Locate, LooksInTheCurrentFolderThenInTheSourceTree) {
  const std::string here = write_temporary("here.txt", "x");
  EXPECT_EQ(locate(here), fs::path(here));
  EXPECT_EQ(locate("configs/README.md").filename(), "README.md");
  EXPECT_TRUE(fs::exists(locate("configs/README.md")));
  EXPECT_EQ(locate("no/such/file"), fs::path("no/such/file"));
}

}  // namespace
}  // namespace strait::config
