#include "core/files.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <stdexcept>

#include "core/error.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

namespace strait::core {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TempFolder;
using test::write_text;

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Files, WritesWholeFilesAndReplacesOldOnes) {
  const TempFolder folder;
  const fs::path path = folder / "state.json";
  for (const std::string text : {"first", "second, longer", ""}) {
    write_file_atomically(path, [&](std::ostream& out) { out << text; });
    EXPECT_EQ(read_file(path), text);
  }
  EXPECT_EQ(entries(folder.path()), 1u) << "a temporary file stayed";
}

TEST(Files, KeepsTheOldFileWhenWritingFails) {
  const TempFolder folder;
  const fs::path path = folder / "state.json";
  write_text(path, "old");
  const auto fail = [&] {
    write_file_atomically(path, [](std::ostream& out) {
      out << "half of the new";
      throw std::runtime_error("interrupted");
    });
  };
  EXPECT_EQ(message_of<std::runtime_error>(fail), "interrupted");
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(folder.path()), 1u) << "a temporary file stayed";
}

TEST(Files, ReportsAStreamThatFailed) {
  const TempFolder folder;
  const fs::path path = folder / "full";
  const std::string error = message_of<RuntimeFault>([&] {
    write_file_atomically(path, [](std::ostream& out) { out.setstate(std::ios::badbit); });
  });
  EXPECT_NE(error.find("cannot write"), std::string::npos) << error;
  EXPECT_FALSE(fs::exists(path));
}

TEST(Files, SaysWhatHelpsAgainstAFailedWrite) {
  EXPECT_EQ(write_remedy(ENOSPC), "free space or choose another folder");
  EXPECT_EQ(write_remedy(EROFS), "choose a folder you may write to");
  EXPECT_EQ(write_remedy(ENOENT), "see whether its folder is still there");
}

TEST(Files, NamesTheFolderThatIsNotThere) {
  const TempFolder folder;
  const fs::path path = folder / "missing" / "state.json";
  const std::string error = message_of<RuntimeFault>(
      [&] { write_file_atomically(path, [](std::ostream& out) { out << "text"; }); });
  EXPECT_NE(error.find("missing"), std::string::npos) << error;
  EXPECT_NE(error.find("cannot create"), std::string::npos) << error;
}

TEST(Files, PublishMovesFoldersAndRefusesMissingOnes) {
  const TempFolder folder;
  fs::create_directory(folder / "new");
  write_text(folder / "new/part", "text");
  publish(folder / "new", folder / "final");
  EXPECT_EQ(read_file(folder / "final/part"), "text");
  EXPECT_FALSE(fs::exists(folder / "new"));
  const std::string error =
      message_of<RuntimeFault>([&] { publish(folder / "new", folder / "other"); });
  EXPECT_NE(error.find("cannot rename"), std::string::npos) << error;
}

TEST(Files, ReadingKeepsEveryByte) {
  const TempFolder folder;
  const std::string bytes("a\0b\r\n\xff", 6);
  write_text(folder / "bytes", bytes);
  EXPECT_EQ(read_file(folder / "bytes"), bytes);
}

TEST(Files, ReadingNamesPathAndReason) {
  const TempFolder folder;
  const std::string missing = message_of<InputError>([&] { read_file(folder / "missing"); });
  EXPECT_NE(missing.find("missing: cannot read: No such file"), std::string::npos) << missing;
  const std::string is_folder = message_of<InputError>([&] { read_file(folder.path()); });
  EXPECT_NE(is_folder.find("is a folder, expected a file"), std::string::npos) << is_folder;
}

TEST(Files, SyncingAMissingFileIsAFault) {
  const TempFolder folder;
  const std::string error = message_of<RuntimeFault>([&] { sync_path(folder / "missing"); });
  EXPECT_NE(error.find("cannot open to flush"), std::string::npos) << error;
}

}  // namespace
}  // namespace strait::core
