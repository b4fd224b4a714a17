#include "core/file_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

namespace strait::core {
namespace {

using test::TempFolder;

TEST(FileLock, OneAloneOrManyShareIt) {
  const TempFolder folder;
  FileLock first(folder / "lock"), second(folder / "lock");
  EXPECT_TRUE(first.try_alone());
  EXPECT_FALSE(second.try_alone());
  EXPECT_FALSE(second.try_shared());
  EXPECT_TRUE(first.try_shared());
  EXPECT_TRUE(second.try_shared());
  EXPECT_FALSE(first.try_alone());
  EXPECT_EQ(first.unsupported(), "");
}

TEST(FileLock, EndsWithItsHolderHoweverThatEnds) {
  const TempFolder folder;
  FileLock here(folder / "lock");
  { EXPECT_TRUE(FileLock(folder / "lock").try_alone()); }
  const pid_t child = ::fork();
  if (child == 0) {
    FileLock there(folder / "lock");
    there.try_alone();
    there.add_line("child");
    ::raise(SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(here.try_alone());
  EXPECT_EQ(here.lines(), std::vector<std::string>{"child"});
  here.clear_lines();
  here.add_line("1 0 host");
  here.add_line("2 1 host");
  EXPECT_EQ(here.lines(), (std::vector<std::string>{"1 0 host", "2 1 host"}));
}

TEST(FileLock, AFolderThatIsNotThereIsNamed) {
  const TempFolder folder;
  const std::string message =
      test::message_of<RuntimeFault>([&] { FileLock(folder / "none/lock"); });
  EXPECT_NE(message.find("none/lock: cannot open"), std::string::npos) << message;
}

}  // namespace
}  // namespace strait::core
