#include "config/json_tree.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace strait::config {
namespace {

using Kind = JsonTree::Kind;

TEST(JsonTree, KeepsOrderAndKinds) {
  const std::string text = R"({"z":1,"a":[true,null,"x",0.1],"m":{"k":-3}})";
  const JsonTree tree = read_tree(text, "here");
  EXPECT_EQ(to_text(tree), text);
  EXPECT_EQ(tree.members().front().first, "z");
  const JsonTree& list = *tree.find("a");
  ASSERT_EQ(list.items().size(), 4u);
  EXPECT_TRUE(list.items()[0].boolean());
  EXPECT_TRUE(list.items()[1].is(Kind::null));
  EXPECT_EQ(list.items()[2].text(), "x");
  EXPECT_EQ(list.items()[3].number(), 0.1);
  EXPECT_EQ(tree.find("m")->find("k")->number(), -3);
  EXPECT_EQ(tree.find("nothing"), nullptr);
}

TEST(JsonTree, WholeNumbersStayWhole) {
  EXPECT_EQ(to_text(JsonTree(6e7)), "60000000");
  EXPECT_EQ(to_text(JsonTree(std::int64_t{9007199254740991})), "9007199254740991");
  EXPECT_EQ(to_text(JsonTree(0.5)), "0.5");
  EXPECT_EQ(to_text(JsonTree(0.0 / 0.0)), "null");
}

TEST(JsonTree, MergesMemberByMember) {
  JsonTree base = read_tree(R"({"a":{"x":1,"y":2},"b":[1,2],"c":3})", "");
  base.merge(read_tree(R"({"a":{"y":5,"z":6},"b":[9],"d":null})", ""));
  EXPECT_EQ(to_text(base), R"({"a":{"x":1,"y":5,"z":6},"b":[9],"c":3,"d":null})");
}

TEST(JsonTree, SetsInPlaceOrAtTheEnd) {
  JsonTree tree = JsonTree::object();
  tree.set("a", 1).set("b", "two").set("a", true);
  EXPECT_EQ(to_text(tree), R"({"a":true,"b":"two"})");
}

TEST(JsonTree, RefusesWhatIsNotStrict) {
  for (const char* text : {"", "{", R"({"a":1,})", R"({"a":1,"a":2})", "// no\n{}"}) {
    EXPECT_THROW(read_tree(text, "here"), core::InputError) << text;
  }
}

}  // namespace
}  // namespace strait::config
