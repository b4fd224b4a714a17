#include "config/read_json.h"
#include "tests/config/helpers.h"

namespace strait::config {
namespace {

std::string refuse(const std::string& json) {
  return message_of([&] { load_text(json, "origin", {}, 1); });
}

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(HostileJson, DeepArraysAreRefusedBeforeTheyAreBuilt) {
  EXPECT_TRUE(contains(refuse(std::string(100000, '[')), "nested deeper"));
  EXPECT_TRUE(
      contains(refuse(std::string(100000, '[') + std::string(100000, ']')), "nested deeper"));
}

TEST(HostileJson, DeepObjectsAreRefused) {
  EXPECT_TRUE(contains(refuse(repeat("{\"a\":", 100000)), "nested deeper"));
}

TEST(HostileJson, DeepOverridesAreRefused) {
  const std::string set = "train=" + repeat("{\"a\":", 20000);
  const std::string message = message_of([&] { load_text(valid_json(), "origin", {set}, 1); });
  EXPECT_TRUE(contains(message, "nested deeper")) << message;
  EXPECT_LT(message.size(), 300u);
}

TEST(HostileJson, EmptyTextIsRefused) {
  EXPECT_TRUE(contains(refuse(""), "is empty"));
  EXPECT_TRUE(contains(refuse(" \n\t "), "is empty"));
}

TEST(HostileJson, NulBytesAndBinaryAreRefused) {
  EXPECT_TRUE(contains(refuse(std::string(64, '\0')), "not valid JSON"));
  EXPECT_TRUE(contains(refuse(std::string("\x7f"
                                          "ELF\x02\x01\x01\0\0",
                                          9)),
                       "not valid JSON"));
}

TEST(HostileJson, InvalidUtf8IsRefusedAndTheMessageStaysPrintable) {
  const std::string message = refuse("{\"run\": {\"name\": \"\xc3\x28\xff\"}}");
  EXPECT_TRUE(contains(message, "not valid JSON")) << message;
  for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << static_cast<int>(c);
}

TEST(HostileJson, InvalidUtf8InAnOverrideIsRefused) {
  const std::string message =
      message_of([&] { load_text(valid_json(), "origin", {"run.name=\xff\xfe"}, 1); });
  EXPECT_TRUE(contains(message, "run.name: value is not valid UTF-8")) << message;
}

TEST(HostileJson, Utf16IsRefused) {
  EXPECT_TRUE(contains(refuse(std::string("\xff\xfe{\0}\0", 6)), "not valid JSON"));
}

TEST(HostileJson, AByteOrderMarkOfUtf8IsSkipped) {
  EXPECT_NO_THROW(load_text("\xef\xbb\xbf" + valid_json(), "origin", {}, 1));
}

TEST(HostileJson, HugeNumbersAreRefused) {
  const std::string digits(400, '9');
  for (const std::string& number :
       {digits, "-" + digits, std::string("1e400"), "-" + digits + ".5"}) {
    const std::string message = refuse("{\"train\": {\"steps\": " + number + "}}");
    EXPECT_TRUE(contains(message, "origin: ")) << message;
    EXPECT_TRUE(contains(message, "overflow")) << message;
    EXPECT_LT(message.size(), 500u) << message;
  }
}

TEST(HostileJson, NanAndInfinityAreNotJson) {
  for (const char* number : {"NaN", "nan", "Infinity", "-Infinity", "inf"}) {
    const std::string message = refuse(std::string("{\"optim\": {\"lr\": ") + number + "}}");
    EXPECT_TRUE(contains(message, "not valid JSON")) << message;
  }
}

TEST(HostileJson, LongNamesAndValuesAreShortenedInMessages) {
  const std::string text(200000, 'x');
  EXPECT_LT(refuse("{\"" + text + "\": 1}").size(), 300u);
  EXPECT_LT(refuse("{\"train\": {\"steps\": \"" + text + "\"}}").size(), 300u);
  EXPECT_LT(refuse("{\"model\": {\"attention\": {\"kind\": \"" + text + "\"}}}").size(), 300u);
}

TEST(HostileJson, TooLargeTextIsRefused) {
  EXPECT_TRUE(contains(refuse(std::string(kMaxJsonBytes + 1, ' ')), "bytes"));
}

TEST(HostileJson, ATooLargeFileIsRefusedUnread) {
  const std::string path = write_temporary("large.json", std::string(kMaxJsonBytes + 1, ' '));
  const std::string message = message_of([&] { load({.name = path}, 1); });
  EXPECT_TRUE(contains(message, path)) << message;
  EXPECT_TRUE(contains(message, "at most")) << message;
}

TEST(HostileJson, EveryTruncationIsRefused) {
  const std::string json = valid_json();
  for (std::size_t length = 0; length < json.size(); ++length) {
    EXPECT_THROW(load_text(json.substr(0, length), "origin", {}, 1), core::InputError) << length;
  }
}

// Whatever one changed byte turns the config into, it is accepted or refused with a message.
TEST(HostileJson, NoChangedByteEscapes) {
  const std::string json = valid_json();
  int refused = 0;
  for (std::size_t at = 0; at < json.size(); ++at) {
    for (const char byte : {'\0', '"', '{', '}', '9', '-', '\\', '\xff', 'e'}) {
      std::string changed = json;
      changed[at] = byte;
      try {
        load_text(changed, "origin", {}, 1);
      } catch (const core::InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace strait::config
