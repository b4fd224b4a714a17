#include "ablate/child.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "ablate/folder_lock.h"
#include "core/files.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using ablate::Child;
using ablate::Command;
using ablate::FolderLock;

Command shell(const std::string& script) {
  return {.arguments = {"sh", "-c", script}};
}

TEST(Child, GivesItsExitCode) {
  EXPECT_EQ(Child(shell("exit 0")).wait(), 0);
  EXPECT_EQ(Child(shell("exit 7")).wait(), 7);
  EXPECT_EQ(Child(shell("kill -9 $$")).wait(), 137);
}

TEST(Child, TakesOutputAndEnvironment) {
  const auto folder = scratch();
  Command command = shell("echo $STRAIT_TEST; echo two >&2");
  command.environment = {{"STRAIT_TEST", "one"}};
  command.output = folder / "log";
  EXPECT_EQ(Child(command).wait(), 0);
  EXPECT_EQ(Child(command).wait(), 0);
  EXPECT_EQ(core::read_file(folder / "log"), "one\ntwo\none\ntwo\n");
}

TEST(Child, SaysWhyItCannotBeStarted) {
  const auto folder = scratch();
  EXPECT_EQ(Child({.arguments = {"/no/such/program"}, .output = folder / "log"}).wait(), 127);
  EXPECT_EQ(core::read_file(folder / "log"),
            "/no/such/program: cannot be started: No such file or directory\n");
}

TEST(Child, PollDoesNotWaitAndSignalsReachTheGroup) {
  const auto folder = scratch();
  Command command = shell("sh -c 'sleep 100'; true");
  command.output = folder / "log";
  Child child(command);
  EXPECT_FALSE(child.poll());
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), 143);
}

// The whole group goes when the object does: no process is left to hold the folder's lock.
TEST(Child, IsKilledWithItsObject) {
  const auto folder = scratch();
  {
    const FolderLock lock(folder, 0);
    const Child child(shell("sh -c 'sleep 100'; true"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_NO_THROW(FolderLock(folder, 5));
}

TEST(FolderLock, IsHeldByOneAndInheritedByChildren) {
  const auto folder = scratch();
  auto lock = std::make_unique<FolderLock>(folder, 0);
  const std::string message = refusal([&] { FolderLock(folder, 0); });
  EXPECT_NE(message.find("in use by process " + std::to_string(::getpid())), std::string::npos)
      << message;
  Child child(shell("exec sleep 100"));
  lock.reset();
  EXPECT_FALSE(refusal([&] { FolderLock(folder, 0); }).empty()) << "the child has it still";
  child.signal(SIGKILL);
  child.wait();
  EXPECT_NO_THROW(FolderLock(folder, 0));
}

}  // namespace
}  // namespace strait::test
