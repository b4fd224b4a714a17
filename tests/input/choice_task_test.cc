#include "input/choice_task.h"

#include "input/utf8.h"
#include "tests/input/refusal.h"

namespace strait::input {
namespace {

using strait::test::holds;
using strait::test::input_error;
using Ids = std::vector<std::int32_t>;

const std::string kItems = STRAIT_SOURCE_DIR "/tests/train/tasks/";

TEST(Utf8, AgreesWithPython) {
  EXPECT_EQ(code_points("a\u00e9\U0001F600"), 3);
  EXPECT_EQ(capitalize("THEN You"), "Then you");
  EXPECT_EQ(capitalize("\u00c9MILE \u00c9t\u00c9"), "\u00c9mile \u00e9t\u00e9");
  EXPECT_EQ(capitalize("\u00e9a"), "\u00c9a");
  EXPECT_EQ(capitalize(""), "");
  EXPECT_EQ(strip("\u3000 a b\u00a0\n"), "a b");
  EXPECT_EQ(strip(" \u2003"), "");
  EXPECT_EQ(trailing_blanks("a \u3000"), 4u);
  EXPECT_EQ(replace_all("    ", "  ", " "), "  ");
}

TEST(ChoiceTask, HellaswagIsCleanedOfWikihow) {
  const auto items = read_choice_items("hellaswag", kItems + "hellaswag.jsonl");
  ASSERT_EQ(items.size(), 5u);
  EXPECT_EQ(items[0].choices[2].context,
            "Sailing: The old captain leaned over the rail and looked at the water. He");
  EXPECT_EQ(items[0].choices[2].continuation, " called to the men to lower the boat.");
  EXPECT_EQ(items[0].choices[0].continuation, "  sang the sea to a kettle of glass.");
  EXPECT_EQ(items[0].answer, 2);
  EXPECT_EQ(items[1].choices[0].context,
            "Baking bread: How to bake bread. Mix the flour and the water. Then you");
  EXPECT_EQ(items[1].choices[0].continuation,
            " leave the dough to rise for an hour. Cover it with a cloth.");
  EXPECT_EQ(items[1].answer, 0);  // in quotes
  EXPECT_EQ(items[1].choices[3].characters, std::ssize(std::string("are a window.")));
  EXPECT_TRUE(items[4].choices[0].context.ends_with("on the bank."));
}

TEST(ChoiceTask, ArcIsReadInBothForms) {
  const auto items = read_choice_items("arc_easy", kItems + "arc.jsonl");
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[0].choices[1].context,
            "Question: Which of these is a liquid at room temperature?\nAnswer:");
  EXPECT_EQ(items[0].choices[1].continuation, " water");
  EXPECT_EQ(items[1].choices.size(), 3u);
  EXPECT_EQ(items[2].choices[3].continuation, " largest house in the town");
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(items[i].answer, (std::array{1, 0, 1, 3}[i]));
}

TEST(ChoiceTask, PiqaTakesLabelsFromBesideOrInside) {
  const auto items = read_choice_items("piqa", kItems + "piqa.jsonl");
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[1].answer, 1);
  EXPECT_EQ(items[0].choices[0].context, "Question: To keep a door open,\nAnswer:");
  const strait::test::TempFolder scratch;
  const auto inside = scratch.file("p.jsonl", R"({"goal":"g","sol1":"a","sol2":"b","label":1})");
  EXPECT_EQ(read_choice_items("piqa", inside)[0].answer, 1);
}

TEST(ChoiceTask, WinograndeScoresWhatFollowsTheGap) {
  const auto items = read_choice_items("winogrande", kItems + "winogrande.jsonl");
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[2].choices[1].context, "The snow melted before the ice did, since the ice");
  EXPECT_EQ(items[2].choices[1].continuation, " was thin .");
  EXPECT_EQ(items[1].answer, 1);
}

TEST(ChoiceTask, NamesTheLineAndWhatItLacks) {
  const strait::test::TempFolder scratch;
  const auto complaint = [&](const char* task, const std::string& line) {
    const auto path = scratch.file("a.jsonl", "\n" + line + "\n");
    return input_error([&] { read_choice_items(task, path); });
  };
  EXPECT_TRUE(holds(complaint("piqa", "{"), {"a.jsonl:2", "piqa"}));
  EXPECT_TRUE(holds(complaint("piqa", R"({"goal":"g","sol1":"a","sol2":"b"})"), {"label"}));
  EXPECT_TRUE(holds(complaint("piqa", R"({"goal":"g","sol1":"a","sol2":"b","label":2})"),
                    {"a.jsonl:2", "none of its 2"}));
  EXPECT_TRUE(holds(
      complaint("winogrande", R"({"sentence":"no gap","option1":"a","option2":"b","answer":"1"})"),
      {"gap"}));
  EXPECT_TRUE(
      holds(complaint("arc_easy", R"({"question":{"stem":"s","choices":[]},"answerKey":"A"})"),
            {"none of its 0"}));
  EXPECT_TRUE(holds(complaint("hellaswag", R"({"ctx_a":5})"), {"a.jsonl:2", "hellaswag"}));
  EXPECT_TRUE(holds(complaint("hellaswag", ""), {"a.jsonl", "no item"}));
}

TEST(EncodeChoice, ScoresTheContinuationAndCutsTheContextFromItsBegin) {
  const auto bytes = make_tokenizer("bytes");
  EncodedChoice choice = encode_choice({"ab ", "cd", 2}, *bytes, 10);
  EXPECT_EQ(choice.tokens, (Ids{'a', 'b', ' ', 'c', 'd'}));
  EXPECT_EQ(choice.scored, 3);  // the blank went with the continuation
  choice = encode_choice({"abcdef", "gh", 2}, *bytes, 4);
  EXPECT_EQ(choice.tokens, (Ids{'d', 'e', 'f', 'g', 'h'}));
  EXPECT_EQ(choice.scored, 2);
  choice = encode_choice({"", "gh", 2}, *bytes, 4);
  EXPECT_EQ(choice.tokens, (Ids{256, 'g', 'h'}));
  choice = encode_choice({"a", "bcde", 4}, *bytes, 4);
  EXPECT_EQ(choice.scored, 4);
  EXPECT_TRUE(holds(input_error([&] {
                      encode_choice({"a", "bcdef", 5}, *bytes, 4);
                    }),
                    {"5 tokens", "1..4", "data.seq_len"}));
}

}  // namespace
}  // namespace strait::input
