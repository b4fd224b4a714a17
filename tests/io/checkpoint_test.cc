#include "io/checkpoint_saver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TempFolder;

/// A fused matrix, experts cut along the middle dim, a vector, and untrained state.
void add_params(core::ParamTable& table, std::int64_t width = 6) {
  table.add({.name = "qkv",
             .shape = {9, width},
             .sections = {{"q", 4}, {"k", 2}, {"v", 3}},
             .section_dim = 0});
  table.add({.name = "experts",
             .shape = {3, 8, 5},
             .sections = {{"gate", 4}, {"up", 4}},
             .section_dim = 1,
             .group = core::OptimGroup::matrix});
  table.add({.name = "norm", .shape = {7}});
  table.add({.name = "bias", .shape = {3}, .trainable = false});
}

std::unique_ptr<core::ParamTable> make_table(DType dtype, std::int64_t width = 6) {
  auto table = std::make_unique<core::ParamTable>(dtype);
  add_params(*table, width);
  table->allocate(Device::cpu);
  return table;
}

/// Every tensor a checkpoint keeps.
std::vector<Tensor> kept(const core::ParamTable& table) {
  std::vector<Tensor> out;
  for (const core::Param& param : table.params()) {
    for (const Tensor& tensor : {param.weight, param.adam_m, param.adam_v}) {
      if (tensor.defined()) out.push_back(tensor);
    }
  }
  return out;
}

/// Arbitrary bits, so that NaN payloads, negative zeros and denormals take part.
void scramble(const core::ParamTable& table, std::uint32_t seed) {
  for (const Tensor& tensor : kept(table)) {
    auto* words = tensor.as<std::uint32_t>();
    for (std::size_t i = 0; i < tensor.bytes() / 4; ++i) {
      seed = seed * 1664525u + 1013904223u;
      words[i] = seed ^ (seed >> 13);
    }
  }
}

bool same_bits(const core::ParamTable& a, const core::ParamTable& b) {
  const std::vector<Tensor> left = kept(a), right = kept(b);
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (std::memcmp(left[i].data, right[i].data, left[i].bytes()) != 0) return false;
  }
  return left.size() == right.size();
}

constexpr const char* kModel = "model.rank_00000.safetensors";
constexpr const char* kOptimizer = "optimizer.rank_00000.safetensors";

fs::path save_table(const fs::path& root, const core::ParamTable& table,
                    const CheckpointState& state, const KeepRule& keep) {
  const auto alone = parallel::make_single();
  return CheckpointSaver(root, table, *alone, keep, Stream{}).save(state);
}

CheckpointState state_at(std::int64_t step) {
  return {.step = step,
          .tokens = step * 4096,
          .batches = step + 2,
          .metrics_bytes = 77,
          .seed = -5,
          .world_size = 3,
          .revision = "abc \"def\"",
          .data = "0123456789abcdef",
          .config = "{\n  \"run\": {}\n}\n"};
}

class CheckpointTest : public ::testing::Test {
 protected:
  fs::path save(std::int64_t step, std::int64_t keep = 0, std::int64_t every = 0) {
    return save_table(root_, *table_, state_at(step), {keep, every});
  }
  std::vector<std::string> folders() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TempFolder folder_;
  fs::path root_ = folder_ / "checkpoints";
  std::unique_ptr<core::ParamTable> table_ = make_table(DType::f32);
};

TEST_F(CheckpointTest, RoundTripIsBitExact) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    table_ = make_table(dtype);
    scramble(*table_, 1);
    const fs::path path = save(100);
    EXPECT_EQ(path, root_ / "step_00000100");
    const auto other = make_table(dtype);
    EXPECT_FALSE(same_bits(*table_, *other));
    load_checkpoint(path, *other, Stream{});
    EXPECT_TRUE(same_bits(*table_, *other)) << name_of(dtype);
    EXPECT_EQ(read_checkpoint_state(path), state_at(100));
  }
}

TEST_F(CheckpointTest, MatricesOfOneStateKeepItUnderItsOwnName) {
  const auto make = [](bool matrix_adam_v) {
    auto table =
        std::make_unique<core::ParamTable>(core::ParamDtypes{.weight = DType::f64,
                                                             .grad = DType::f64,
                                                             .state = DType::f64,
                                                             .matrix_adam_v = matrix_adam_v});
    add_params(*table);
    table->allocate(Device::cpu);
    return table;
  };
  table_ = make(false);
  scramble(*table_, 1);
  const fs::path path = save(100);
  const auto same = make(false), other = make(true);
  load_checkpoint(path, *same, Stream{});
  EXPECT_TRUE(same_bits(*table_, *same));
  const std::string message =
      message_of<core::InputError>([&] { load_checkpoint(path, *other, Stream{}); });
  EXPECT_NE(message.find("has no tensor gate.adam_m"), std::string::npos) << message;
  const std::string bytes = core::read_file(path / kOptimizer);
  EXPECT_NE(bytes.find("\"gate.momentum\""), std::string::npos);
  EXPECT_NE(bytes.find("\"q.adam_v\""), std::string::npos);
}

TEST_F(CheckpointTest, EqualStateGivesEqualFiles) {
  scramble(*table_, 2);
  const fs::path path = save(1);
  std::vector<std::string> first;
  for (const char* file : {kModel, kOptimizer, kManifestFile}) {
    first.push_back(core::read_file(path / file));
  }
  save(1);
  EXPECT_EQ(first[0], core::read_file(path / kModel));
  EXPECT_EQ(first[1], core::read_file(path / kOptimizer));
  EXPECT_EQ(first[2], core::read_file(path / kManifestFile));
}

TEST_F(CheckpointTest, NewestIsFoundByNumberAndOldestArePruned) {
  EXPECT_FALSE(find_checkpoint(root_).folder);
  for (const std::int64_t step : {9, 100, 20, 123456789}) save(step);
  EXPECT_EQ(find_checkpoint(root_).folder, root_ / "step_123456789");
  EXPECT_EQ(folders().size(), 4u);
  save(123456790, 2);
  EXPECT_EQ(folders(), (std::vector<std::string>{"step_123456789", "step_123456790"}));
}

TEST_F(CheckpointTest, PruningKeepsWhatWasJustSaved) {
  save(50);
  save(60);
  save(10, 2);
  EXPECT_EQ(folders(),
            (std::vector<std::string>{"step_00000010", "step_00000050", "step_00000060"}));
}

TEST_F(CheckpointTest, SavingAStepAgainReplacesIt) {
  scramble(*table_, 3);
  save(7);
  scramble(*table_, 4);
  const fs::path path = save(7);
  EXPECT_EQ(folders(), std::vector<std::string>{"step_00000007"});
  const auto other = make_table(DType::f32);
  load_checkpoint(path, *other, Stream{});
  EXPECT_TRUE(same_bits(*table_, *other));
}

TEST_F(CheckpointTest, InterruptedSavesAreIgnoredAndThenCleared) {
  save(10);
  const fs::path leftover = root_ / ".tmp-step_00000020";
  fs::copy(root_ / "step_00000010", leftover);
  fs::remove(leftover / kManifestFile);
  fs::create_directory(root_ / "step_7");  // not a name this program gives
  test::write_text(root_ / "step_00000099", "a file");
  const FoundCheckpoint found = find_checkpoint(root_);
  EXPECT_EQ(found.folder, root_ / "step_00000010");
  EXPECT_TRUE(found.skipped.empty());
  save(20);
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_EQ(find_checkpoint(root_).folder, root_ / "step_00000020");
}

TEST_F(CheckpointTest, DamagedNewestFallsBackAndSaysWhy) {
  const std::pair<const char*, const char*> kDamage[] = {
      {kManifestFile, "no manifest.json, the save was interrupted"},
      {kModel, "model.rank_00000.safetensors is missing"},
      {kOptimizer, "optimizer.rank_00000.safetensors is missing"}};
  for (const auto& [file, why] : kDamage) {
    save(10);
    fs::remove(save(20) / file);
    const FoundCheckpoint found = find_checkpoint(root_);
    EXPECT_EQ(found.folder, root_ / "step_00000010");
    ASSERT_EQ(found.skipped.size(), 1u);
    EXPECT_NE(found.skipped[0].find(std::string("step_00000020: ") + why), std::string::npos)
        << found.skipped[0];
  }
  fs::resize_file(save(20) / kModel, 100);
  EXPECT_NE(find_checkpoint(root_).skipped.at(0).find("has 100 bytes, manifest.json says"),
            std::string::npos);
}

TEST_F(CheckpointTest, DamagedFoldersAreNotCountedAsKept) {
  save(10);
  fs::remove(save(20) / kModel);
  save(30, 2);
  EXPECT_EQ(find_checkpoint(root_).folder, root_ / "step_00000030");
  EXPECT_TRUE(fs::exists(root_ / "step_00000010"));
}

/// A manifest with a right checksum around any text.
std::string sealed(std::string body) {
  return body + ",\n  \"checksum\": \"xxh3:" + core::hash_text(core::hash_of(body)) + "\"\n}\n";
}

TEST_F(CheckpointTest, ManifestsAreBelievedNothing) {
  const fs::path path = save(10);
  const std::pair<std::string, std::string> kTexts[] = {
      {"", "no checksum"},
      {"{}", "no checksum"},
      {sealed("{ \"format\": "), "not valid JSON"},
      {sealed("{ \"format\": 2e999"), "a number beyond"},
      {sealed("{ \"form\": 2"), "needs 'format' as an integer"},
      {sealed("{ \"format\": 1"), "format 1, this program reads 2"},
      {sealed("{ \"format\": 2"), "needs 'step'"}};
  for (const auto& [text, why] : kTexts) {
    test::write_text(path / kManifestFile, text);
    const std::string message = message_of<core::InputError>([&] { read_checkpoint_state(path); });
    EXPECT_NE(message.find(why), std::string::npos) << text << "\n" << message;
  }
}

TEST_F(CheckpointTest, PiecesMustLieInsideAndFillTheirTensor) {
  const fs::path path = save(10);
  const Manifest good = read_manifest(path);
  const auto refusal = [&](const std::function<void(Manifest&)>& change) {
    Manifest bad = good;
    change(bad);
    test::write_text(path / kManifestFile, manifest_text(bad));
    const auto other = make_table(DType::f32);
    return message_of<core::InputError>([&] { load_checkpoint(path, *other, Stream{}); });
  };
  EXPECT_EQ(refusal([](Manifest&) {}), "");
  using Sizes = std::vector<std::int64_t>;
  const auto piece = [](Manifest& m) -> Piece& { return m.tensors.at("q").pieces.at(0).piece; };
  const auto expect = [&](const std::function<void(Manifest&)>& change, const std::string& why) {
    const std::string message = refusal(change);
    EXPECT_NE(message.find(why), std::string::npos) << message;
  };
  expect([&](Manifest& m) { piece(m) = {Sizes{1, 0}, Sizes{4, 6}, 0, 24}; }, "outside its tensor");
  expect([&](Manifest& m) { piece(m) = {Sizes{0, 0}, Sizes{4, 6}, 0, 25}; }, "outside its tensor");
  expect([&](Manifest& m) { piece(m) = {Sizes{0}, Sizes{24}, 0, 24}; }, "outside its tensor");
  expect([&](Manifest& m) { piece(m) = {Sizes{0, 0}, Sizes{4, 6}, 0, 23}; }, "has no 'q' of 23");
  expect([](Manifest& m) { m.tensors.at("q").pieces.clear(); }, "holds 0 of the 24 elements");
  expect([](Manifest& m) { m.tensors.at("q").pieces.at(0).file = "other"; }, "'files' lacks");
  expect([](Manifest& m) { m.tensors.at("q").pieces.at(0).file = "../x"; },
         "not the name of a file");
  expect([](Manifest& m) { m.tensors.at("q").pieces.at(0).key = "k"; }, "has no 'k' of 24");
  expect([](Manifest& m) { m.tensors.erase("q"); }, "has no tensor q");
  expect([](Manifest& m) { m.files.erase(kModel); }, "'files' lacks");
}

/// Every byte of headers and manifest, and a sample of the data.
TEST_F(CheckpointTest, ASingleFlippedBitIsFoundAndItsFileNamed) {
  scramble(*table_, 7);
  save(10);
  const fs::path path = save(20);
  for (const char* name : {kModel, kOptimizer, kManifestFile}) {
    const std::string whole = core::read_file(path / name);
    const bool data = std::string(name) != kManifestFile;
    std::uint64_t header = whole.size();
    if (data) std::memcpy(&header, whole.data(), sizeof header);
    for (std::size_t at = 0; at < whole.size(); at += !data || at < header + 8 ? 1 : 13) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      test::write_text(path / name, damaged);
      const FoundCheckpoint found = find_checkpoint(root_, true);
      ASSERT_EQ(found.folder, root_ / "step_00000010") << name << " byte " << at;
      ASSERT_EQ(found.skipped.size(), 1u);
      ASSERT_NE(found.skipped[0].find(name), std::string::npos) << found.skipped[0];
      if (at % 31 == 0) {
        const auto other = make_table(DType::f32);
        ASSERT_THROW(load_checkpoint(path, *other, Stream{}), core::InputError) << at;
      }
    }
    test::write_text(path / name, whole);
  }
  EXPECT_EQ(find_checkpoint(root_, true).folder, path);
}

TEST_F(CheckpointTest, MultiplesAreKeptForGood) {
  for (const std::int64_t step : {50, 60, 100, 110, 120, 130}) save(step, 2, 50);
  EXPECT_EQ(folders(), (std::vector<std::string>{"step_00000050", "step_00000100", "step_00000120",
                                                 "step_00000130"}));
}

/// The table may change as soon as begin() returns.
TEST_F(CheckpointTest, WritesASnapshotInTheBackground) {
  scramble(*table_, 8);
  const auto twin = make_table(DType::f32);
  scramble(*twin, 8);
  const auto alone = parallel::make_single();
  CheckpointSaver saver(root_, *table_, *alone, {}, Stream{});
  EXPECT_FALSE(saver.busy());
  saver.begin(state_at(3));
  EXPECT_TRUE(saver.busy());
  scramble(*table_, 9);
  const SaveOutcome outcome = saver.finish();
  EXPECT_FALSE(saver.busy());
  EXPECT_EQ(outcome.failure, "");
  load_checkpoint(outcome.folder, *table_, Stream{});
  EXPECT_TRUE(same_bits(*table_, *twin));
}

TEST_F(CheckpointTest, WeightsAloneFillATableWithoutStates) {
  scramble(*table_, 10);
  const fs::path path = save(5);
  core::ParamTable bare({.weight = DType::f32, .training = false});
  add_params(bare);
  bare.allocate(Device::cpu);
  load_weights(path, bare, Stream{});
  for (std::size_t i = 0; i < bare.params().size(); ++i) {
    const Tensor &mine = bare.params()[i].weight, &theirs = table_->params()[i].weight;
    EXPECT_EQ(std::memcmp(mine.data, theirs.data, mine.bytes()), 0) << bare.params()[i].spec.name;
  }
  EXPECT_EQ(bare.optimizer().peak() + bare.gradients().peak(), 0u);
}

/// As export reads a run that goes on.
TEST_F(CheckpointTest, WeightsAreReadWhileOldOnesAreRemoved) {
  save(1);
  std::thread trains([&] {
    for (std::int64_t step = 2; step < 100; ++step) save(step, 1);
  });
  const auto other = make_table(DType::f32);
  fs::path newest;
  while (newest.filename() != "step_00000099") {
    const fs::path now = load_newest_weights(root_, *other, Stream{});
    EXPECT_GE(now, newest);
    newest = now;
  }
  trains.join();
}

TEST_F(CheckpointTest, AnotherModelIsRefusedAndNothingWritten) {
  const fs::path path = save(10);
  const auto refusal = [&](core::ParamTable& table) {
    table.allocate(Device::cpu);
    scramble(table, 5);
    std::vector<std::vector<double>> before;
    for (const Tensor& tensor : kept(table)) before.push_back(test::values(tensor));
    const std::string message =
        message_of<core::InputError>([&] { load_checkpoint(path, table, Stream{}); });
    const std::vector<Tensor> after = kept(table);
    for (std::size_t i = 0; i < after.size(); ++i) {
      const std::vector<double> now = test::values(after[i]);
      EXPECT_EQ(std::memcmp(now.data(), before[i].data(), now.size() * sizeof(double)), 0);
    }
    return message;
  };
  core::ParamTable wide(DType::f32), deep(DType::f32), shallow(DType::f32), exact(DType::f64);
  add_params(wide, 8);
  EXPECT_NE(refusal(wide).find("q is [4, 6] F32, the model has [4, 8] F32"), std::string::npos);
  add_params(exact);
  EXPECT_NE(refusal(exact).find("q is [4, 6] F32, the model has [4, 6] F64"), std::string::npos);
  add_params(deep);
  deep.add({.name = "more", .shape = {2}});
  EXPECT_NE(refusal(deep).find("has no tensor more, [2] F32"), std::string::npos);
  shallow.add({.name = "norm", .shape = {7}});
  EXPECT_NE(refusal(shallow).find("holds 'bias', which the model lacks"), std::string::npos);
}

TEST_F(CheckpointTest, FailedSaveKeepsTheOldOnes) {
  scramble(*table_, 6);
  const fs::path path = save(10);
  const std::string before = core::read_file(path / kModel);
  test::write_text(root_ / ".tmp-step_00000020", "in the way, removed");
  save(20);
  test::write_text(folder_ / "file", "no folder");
  EXPECT_THROW(save_table(folder_ / "file" / "checkpoints", *table_, state_at(1), {}),
               core::RuntimeFault);
  EXPECT_EQ(before, core::read_file(path / kModel));
}

}  // namespace
}  // namespace strait::io
