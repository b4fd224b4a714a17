#include "config/compare.h"

#include <gtest/gtest.h>

namespace strait::config {
namespace {

std::vector<std::string> paths_of(const std::vector<Difference>& differences) {
  std::vector<std::string> out;
  for (const Difference& difference : differences) out.push_back(difference.path);
  return out;
}

TEST(Compare, NamesKeysBelowThePathsAndNoOthers) {
  Config before, now;
  now.model.d_model = 64;
  now.model.attention.kind = AttentionKind::mla;
  now.data.seq_len = 7;
  now.data.val_documents = 3;
  constexpr std::string_view kPaths[] = {"model", "data.seq_len"};
  EXPECT_EQ(paths_of(differences(before, now, kPaths)),
            (std::vector<std::string>{"model.d_model", "model.attention.kind", "data.seq_len"}));
}

TEST(Compare, SaysBothValues) {
  Config before, now;
  before.run.seed = 3;
  now.run.seed = 4;
  constexpr std::string_view kPaths[] = {"run.seed"};
  const auto found = differences(before, now, kPaths);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].before, "3");
  EXPECT_EQ(found[0].now, "4");
}

TEST(Compare, APathCoversWholeNamesOnly) {
  Config before, now;
  now.data.train = "x";
  now.train.steps = 9;
  constexpr std::string_view kPaths[] = {"train"};
  EXPECT_EQ(paths_of(differences(before, now, kPaths)), std::vector<std::string>{"train.steps"});
}

TEST(Compare, EqualConfigsHaveNoDifferences) {
  constexpr std::string_view kPaths[] = {"run", "model", "data", "optim"};
  EXPECT_TRUE(differences(Config{}, Config{}, kPaths).empty());
}

}  // namespace
}  // namespace strait::config
