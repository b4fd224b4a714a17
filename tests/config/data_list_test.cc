#include "config/data_list.h"

#include <gtest/gtest.h>

#include <fstream>

namespace strait::config {
namespace {

using Parts = std::vector<DataPart>;

TEST(DataList, ReadsPathsAndShares) {
  EXPECT_EQ(data_parts("a.tok"), (Parts{{"a.tok", 0}}));
  EXPECT_EQ(data_parts(" web/*.bin=0.7,code.tok = 3 "),
            (Parts{{"web/*.bin", 0.7}, {"code.tok", 3}}));
  EXPECT_EQ(data_parts("a,,b,"), (Parts{{"a", 0}, {"b", 0}}));
  EXPECT_EQ(data_parts(""), Parts{});
}

TEST(DataList, WhatIsNoShareBelongsToThePath) {
  for (const char* path : {"lr=0.1x", "a=b.tok", "a=", "a=0", "a=-1", "a=inf"}) {
    EXPECT_EQ(data_parts(path), (Parts{{path, 0}})) << path;
  }
}

TEST(DataList, IsWrittenAsItIsRead) {
  for (const char* list : {"a.tok", "web-*.bin=0.7, code.tok=3", "a, b"}) {
    EXPECT_EQ(data_list(data_parts(list)), list);
  }
}

TEST(MatchingFiles, AreSortedByName) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "strait_matching";
  std::filesystem::create_directories(folder);
  for (const char* name : {"web-1.tok", "web-0.tok", "code.tok"}) std::ofstream(folder / name);
  const auto match = [&](const char* name) { return matching_files((folder / name).string()); };
  EXPECT_EQ(match("web-?.tok"), (std::vector{folder / "web-0.tok", folder / "web-1.tok"}));
  EXPECT_EQ(match("code.tok"), std::vector{folder / "code.tok"});
  EXPECT_TRUE(match("*.bin").empty());
  EXPECT_TRUE(match("absent.tok").empty());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace strait::config
