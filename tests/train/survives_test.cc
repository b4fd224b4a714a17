#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "core/file_lock.h"
#include "core/host_name.h"
#include "io/checkpoint.h"
#include "tests/train/program.h"

// Runs that are told to stop, that meet bad steps, and whose disk fails them.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

const std::string kTiny =
    " --config tiny_ccgqa --set run.device=cpu --set model.n_layers=1 --set data.seq_len=32"
    " --set train.batch_size=4 --set optim.warmup_steps=2 --set eval.sequences=2"
    " --set eval.sample_tokens=0 ";

std::string in(const fs::path& run) {
  return " --set run.dir=" + run.string() + " ";
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t n = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

bool wait_for(const std::function<bool()>& held) {
  for (int i = 0; i < 600 && !held(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return held();
}

class StopsOn : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Survives, StopsOn, ::testing::Values("TERM", "INT", "USR1"));

TEST_P(StopsOn, ASignalSavesAndEndsTheRun) {
  const fs::path run = fresh_folder(std::string("survives/") + GetParam()) / "run";
  const Outcome outcome = run_train_until(kTiny + in(run) + "--set train.steps=100000", GetParam(),
                                          run / "metrics.jsonl");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find(std::string("SIG") + GetParam()), std::string::npos);
  EXPECT_NE(outcome.output.find("--resume"), std::string::npos) << outcome.output;
  const auto found = io::find_checkpoint(run / "checkpoints", true);
  ASSERT_TRUE(found.folder) << outcome.output;
  const auto state = io::read_checkpoint_state(*found.folder);
  EXPECT_EQ(series(run, "loss").size(), static_cast<std::size_t>(state.step));
  EXPECT_NE(read_text(run / "provenance-events.jsonl").find("\"stop\""), std::string::npos);
  const std::string steps = std::to_string(state.step + 3);
  const Outcome more = run_train("--resume " + run.string() + " --set train.steps=" + steps);
  EXPECT_EQ(more.code, 0) << more.output;
  EXPECT_EQ(series(run, "loss").size(), static_cast<std::size_t>(state.step + 3));
}

TEST(Survives, VerifyResumeComparesBits) {
  const fs::path run = fresh_folder("survives/verify") / "run";
  for (const int ranks : {0, 2}) {
    const Outcome outcome =
        run_train(kTiny + in(run) + "--set train.steps=20 --verify-resume 4", ranks);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_NE(outcome.output.find("resume is exact: 4 + 4 steps"), std::string::npos)
        << outcome.output;
  }
  EXPECT_TRUE(fs::is_empty(run.parent_path()));
  EXPECT_EQ(run_train(kTiny + in(run) + "--set train.steps=20 --verify-resume 11").code, 2);
}

// A limit so low that ordinary steps are spikes.
const std::string kJumpy = "--set guard.window=8 --set guard.z=0.5 --set train.steps=40 ";

TEST(Survives, SpikesAreSkippedAndNamedEverywhere) {
  const fs::path run = fresh_folder("survives/skip") / "run";
  const Outcome outcome =
      run_train(kTiny + in(run) + kJumpy + "--set guard.spike=skip --set guard.limit=1000");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  const std::string metrics = read_text(run / "metrics.jsonl");
  const std::size_t skipped =
      count(metrics, "\"event\": \"skip\"") + count(metrics, "\"event\":\"skip\"");
  EXPECT_GT(skipped, 0u);
  EXPECT_EQ(count(metrics, "\"bad\""), skipped);
  EXPECT_EQ(count(read_text(run / "provenance-events.jsonl"), "skip"), skipped);
  EXPECT_EQ(series(run, "loss").size(), 40u);
}

TEST(Survives, RewindsPassOverTheDataAndStopInTheEnd) {
  const fs::path run = fresh_folder("survives/rewind") / "run";
  const Outcome outcome = run_train(kTiny + in(run) + kJumpy +
                                    "--set guard.spike=rewind --set guard.limit=2 "
                                    "--set checkpoint.every=4");
  EXPECT_EQ(outcome.code, 3) << outcome.output;
  EXPECT_EQ(count(outcome.output, "rewound to"), 2u) << outcome.output;
  EXPECT_EQ(count(read_text(run / "provenance-events.jsonl"), "rewind"), 2u);
  EXPECT_TRUE(io::find_checkpoint(run / "checkpoints", true).folder);
}

TEST(Survives, ALossThatIsNoNumberNeverReachesTheWeights) {
  const std::string broken =
      "--set optim.lr=10 --set optim.weight_decay=1000 --set optim.schedule=constant"
      " --set optim.clip_norm=0 --set train.steps=24 ";
  const fs::path stops = fresh_folder("survives/nan_stop") / "run";
  const Outcome stopped = run_train(kTiny + in(stops) + broken);
  EXPECT_EQ(stopped.code, 3) << stopped.output;
  EXPECT_NE(stopped.output.find("not finite"), std::string::npos) << stopped.output;
  const fs::path skips = fresh_folder("survives/nan_skip") / "run";
  const Outcome skipped =
      run_train(kTiny + in(skips) + broken + "--set guard.non_finite=skip --set guard.limit=4");
  EXPECT_EQ(skipped.code, 3) << skipped.output;
  EXPECT_EQ(count(read_text(skips / "provenance-events.jsonl"), "skip"), 4u);
}

/// A small disk of its own, where the test may mount one.
class SmallDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fresh_folder(std::string("survives/disk/") + test->name());
    if (!mount("16m")) GTEST_SKIP() << "cannot mount a tmpfs here: " << std::strerror(errno);
  }
  void TearDown() override {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  bool mount(const std::string& size, unsigned long flags = 0) {
    const bool done =
        ::mount("tmpfs", folder_.c_str(), "tmpfs", flags, ("size=" + size).c_str()) == 0;
    mounted_ = mounted_ || done;
    return done;
  }
  static std::uintmax_t bytes_in(const fs::path& folder) {
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) bytes += entry.file_size();
    }
    return bytes;
  }

  fs::path folder_;
  bool mounted_ = false;
};

TEST_F(SmallDisk, AFullDiskKeepsTheOldCheckpointAndTheRunGoesOn) {
  const fs::path run = folder_ / "run";
  ASSERT_EQ(run_train(kTiny + in(run) + "--set train.steps=4").code, 0);
  const std::uintmax_t one = bytes_in(run / "checkpoints");
  // Room for one checkpoint and a half.
  const std::uintmax_t room = bytes_in(folder_) + one / 2 + 65536;
  ASSERT_TRUE(mount(std::to_string(room), MS_REMOUNT)) << std::strerror(errno);
  const std::string more = "--resume " + run.string() + " --set checkpoint.every=4 ";
  const Outcome outcome = run_train(more + "--set train.steps=12");
  EXPECT_EQ(outcome.code, 3) << outcome.output;  // the last one could not be saved either
  EXPECT_EQ(series(run, "loss").size(), 12u);
  EXPECT_EQ(count(outcome.output, "not saved"), 2u) << outcome.output;
  EXPECT_EQ(count(outcome.output, "free space"), 2u) << outcome.output;
  EXPECT_EQ(io::find_checkpoint(run / "checkpoints", true).folder,
            run / "checkpoints/step_00000004");
  ASSERT_TRUE(mount("16m", MS_REMOUNT));
  EXPECT_EQ(run_train(more + "--set train.steps=12").code, 0);
  EXPECT_EQ(io::find_checkpoint(run / "checkpoints", true).folder,
            run / "checkpoints/step_00000012");
}

TEST_F(SmallDisk, ManyRanksSayOnceThatTheDiskIsFull) {
  const fs::path run = folder_ / "run";
  ASSERT_EQ(run_train(kTiny + in(run) + "--set train.steps=2").code, 0);
  const std::uintmax_t room = bytes_in(folder_) + 65536;
  ASSERT_TRUE(mount(std::to_string(room), MS_REMOUNT)) << std::strerror(errno);
  const Outcome outcome =
      run_train("--resume " + run.string() + " --set train.steps=8 --set checkpoint.every=4", 2);
  EXPECT_EQ(outcome.code, 3) << outcome.output;
  EXPECT_EQ(count(outcome.output, "not saved"), 2u) << outcome.output;
}

TEST_F(SmallDisk, ARunThatCannotBeginIsAFaultSaidOnce) {
  ASSERT_TRUE(mount("4096", MS_REMOUNT)) << std::strerror(errno);
  write_text(folder_ / "fill", std::string(4096, 'x'));
  const Outcome outcome = run_train(kTiny + in(folder_ / "run") + "--set train.steps=2");
  EXPECT_EQ(outcome.code, 3) << outcome.output;
  EXPECT_EQ(count(outcome.output, "free space"), 1u) << outcome.output;
  EXPECT_EQ(count(outcome.output, "choose a folder"), 0u) << outcome.output;
}

TEST_F(SmallDisk, TokenizeKeepsWholeShardsAndGoesOnOnceThereIsRoom) {
  const std::string prefix = (folder_ / "text").string();
  const std::string command = "--input " STRAIT_SOURCE_DIR
                              "/data/sample.txt --threads 1"
                              " --shard-tokens 100000 --output " +
                              prefix;
  ASSERT_TRUE(mount("1m", MS_REMOUNT)) << std::strerror(errno);
  const Outcome full = run_program("tokenize", command);
  EXPECT_EQ(full.code, 3) << full.output;
  EXPECT_EQ(count(full.output, "error: "), 1u) << full.output;
  EXPECT_EQ(count(full.output, "free space"), 1u) << full.output;
  const std::string first = read_text(prefix + "-00000.tok");
  EXPECT_FALSE(first.empty());
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  }
  ASSERT_TRUE(mount("16m", MS_REMOUNT)) << std::strerror(errno);
  const Outcome more = run_program("tokenize", command);
  EXPECT_EQ(more.code, 0) << more.output;
  EXPECT_NE(more.output.find("8 documents, 975510 bytes"), std::string::npos) << more.output;
  EXPECT_EQ(read_text(prefix + "-00000.tok"), first);
}

TEST_F(SmallDisk, AFolderThatBecomesReadOnlyDoesNotStopTheRun) {
  const fs::path run = folder_ / "run", checkpoints = run / "checkpoints";
  Outcome outcome;
  std::thread trains([&] {
    outcome = run_train(kTiny + in(run) + "--set train.steps=400 --set checkpoint.every=5");
  });
  const bool saved = wait_for([&] { return io::find_checkpoint(checkpoints).folder.has_value(); });
  const auto mount_there = [&](const char* what, unsigned long flags) {
    return ::mount(what, checkpoints.c_str(), nullptr, flags, nullptr) == 0;
  };
  const bool closed = mount_there(checkpoints.c_str(), MS_BIND) &&
                      mount_there(nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY);
  trains.join();
  ::umount2(checkpoints.c_str(), MNT_DETACH);
  ASSERT_TRUE(saved && closed) << std::strerror(errno);
  EXPECT_EQ(outcome.code, 3) << outcome.output;
  EXPECT_NE(outcome.output.find("step 400/400"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("not saved"), std::string::npos) << outcome.output;
  EXPECT_TRUE(io::find_checkpoint(checkpoints, true).folder);
  ASSERT_TRUE(mount("16m", MS_REMOUNT | MS_RDONLY)) << std::strerror(errno);
  const Outcome refused = run_train("--resume " + run.string() + " --set train.steps=401");
  EXPECT_EQ(refused.code, 2) << refused.output;
  EXPECT_NE(refused.output.find("cannot be written"), std::string::npos) << refused.output;
}

TEST_F(SmallDisk, WhatCannotBeRemovedIsNoFailedSave) {
  const fs::path run = folder_ / "run", busy = run / "checkpoints/.tmp-busy";
  fs::create_directories(busy);
  ASSERT_EQ(::mount(busy.c_str(), busy.c_str(), nullptr, MS_BIND, nullptr), 0);
  const Outcome outcome =
      run_train(kTiny + in(run) + "--set train.steps=6 --set checkpoint.every=2");
  ::umount2(busy.c_str(), MNT_DETACH);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("could not be removed"), std::string::npos) << outcome.output;
  EXPECT_EQ(io::find_checkpoint(run / "checkpoints", true).folder,
            run / "checkpoints/step_00000006");
}

/// As the ranks of a run whose launcher was killed, this test holds on to the folder.
TEST(Survives, ARunWaitsForTheRanksOfAnotherAndThenRefuses) {
  const fs::path run = fresh_folder("survives/lock") / "run";
  ASSERT_EQ(run_train(kTiny + in(run) + "--set train.steps=4", 2).code, 0);
  auto orphan = std::make_unique<core::FileLock>(run / "run.lock");
  EXPECT_EQ(orphan->lines().size(), 2u);
  ASSERT_TRUE(orphan->try_shared());
  orphan->clear_lines();
  orphan->add_line(std::to_string(::getpid()) + " 3 " + core::host_name());
  const std::string name = "rank 3 (process " + std::to_string(::getpid());
  const std::string metrics = read_text(run / "metrics.jsonl");
  const std::string more = "--resume " + run.string() + " --set train.steps=6 ";
  for (const int ranks : {0, 2}) {
    const Outcome refused = run_train(more + "--set parallel.watchdog_seconds=1", ranks);
    EXPECT_EQ(refused.code, 2) << refused.output;
    EXPECT_NE(refused.output.find("another run is still going on in it: " + name),
              std::string::npos)
        << refused.output;
  }
  EXPECT_EQ(read_text(run / "metrics.jsonl"), metrics);
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    orphan.reset();
  });
  const Outcome waited = run_train(more, 2);
  ends.join();
  EXPECT_EQ(waited.code, 0) << waited.output;
  EXPECT_EQ(count(waited.output, "waits for another run in"), 1u) << waited.output;
  EXPECT_EQ(series(run, "loss").size(), 6u);
}

/// As a crash of the machine may leave them: a checkpoint is on the disk before its metrics.
TEST(Survives, LostMetricsAreSaidAndDoNotStopARun) {
  const fs::path run = fresh_folder("survives/metrics") / "run";
  ASSERT_EQ(run_train(kTiny + in(run) + "--set train.steps=4").code, 0);
  const std::string metrics = read_text(run / "metrics.jsonl");
  write_text(run / "metrics.jsonl", metrics.substr(0, metrics.find("\n") + 20));
  const Outcome outcome = run_train("--resume " + run.string() + " --set train.steps=6");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("without the lines that are lost"), std::string::npos);
  EXPECT_EQ(series(run, "loss").size(), 3u);  // of steps 1, 5 and 6
}

TEST(Survives, AFolderThatVanishesIsMadeAnew) {
  const fs::path run = fresh_folder("survives/vanishes") / "run";
  Outcome outcome;
  std::thread trains([&] {
    outcome = run_train(kTiny + in(run) + "--set train.steps=400 --set checkpoint.every=5");
  });
  EXPECT_TRUE(
      wait_for([&] { return io::find_checkpoint(run / "checkpoints").folder.has_value(); }));
  std::error_code busy;
  fs::remove_all(run, busy);
  trains.join();
  EXPECT_NE(outcome.output.find("step 400/400"), std::string::npos) << outcome.output;
  EXPECT_EQ(io::find_checkpoint(run / "checkpoints", true).folder,
            run / "checkpoints/step_00000400");
  // Its metrics went to a file that is no more.
  EXPECT_NE(outcome.output.find("metrics.jsonl: was removed"), std::string::npos) << outcome.output;
  const Outcome more = run_train("--resume " + run.string() + " --set train.steps=402");
  EXPECT_EQ(more.code, 0) << more.output;
  EXPECT_NE(more.output.find("step_00000400 after step 400"), std::string::npos) << more.output;
  // A new run does not begin beside checkpoints of another.
  fs::remove(run / "config.json");
  fs::remove(run / "metrics.jsonl");
  EXPECT_EQ(run_train(kTiny + in(run) + "--set train.steps=4").code, 2);
}

}  // namespace
}  // namespace strait::test
