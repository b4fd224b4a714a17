#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "io/safetensors.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

// Files that lie. Each must end in an InputError that says what is wrong, never in a crash.
namespace strait::io {
namespace {

using test::message_of;
using test::TempFolder;

std::string file_with(std::uint64_t length, const std::string& header, std::size_t data) {
  std::string text(reinterpret_cast<const char*>(&length), sizeof(length));
  return text + header + std::string(data, '\1');
}

struct Hostile {
  std::string header;
  std::size_t data;      // bytes behind the header
  std::string expected;  // part of the message
};

std::string tensor(const std::string& fields) {
  return R"({"t":{)" + fields + "}}";
}

std::vector<Hostile> hostile_headers() {
  const std::string kGood = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const std::string kDims = R"("dtype":"F32","data_offsets":[0,8],"shape":)";
  const std::string kRange = R"("dtype":"F32","shape":[2],"data_offsets":)";
  const std::string kPair = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":)";
  return {
      {"", 0, "does not start with '{'"},
      {" {}", 0, "does not start with '{'"},
      {"[1, 2]", 0, "does not start with '{'"},
      {"{", 0, "not valid JSON at byte"},
      {"{}x", 0, "not valid JSON"},
      {std::string("{}\0", 3), 0, "contains a zero byte"},
      {"{\"\xff\":1}", 0, "not valid JSON"},
      {tensor(kGood) + "{}", 8, "not valid JSON"},
      {"{}", 1, "1 bytes after the last tensor"},
      {R"({"t":null})", 0, "null where"},
      {R"({"t":7})", 0, "a number where"},
      {R"({"t":[]})", 0, "an array where"},
      {R"({"t":"x"})", 0, "the string 'x' where"},
      {R"({"t":{}})", 0, "one is missing"},
      {tensor(R"("dtype":"F32","shape":[2])"), 8, "one is missing"},
      {tensor(kGood + R"(,"extra":1)"), 8, "unknown key 'extra'"},
      {tensor(kGood + R"(,"dtype":"F32")"), 8, "key 'dtype' is given twice"},
      {R"({"t":{)" + kGood + R"(},"t":{)" + kGood + "}}", 8, "tensor name 't' is given twice"},
      {tensor(R"("dtype":"F33","shape":[2],"data_offsets":[0,8])"), 8, "unknown dtype 'F33'"},
      {tensor(R"("dtype":"f32","shape":[2],"data_offsets":[0,8])"), 8, "unknown dtype 'f32'"},
      {tensor(R"("dtype":32,"shape":[2],"data_offsets":[0,8])"), 8, "a number where"},
      {tensor(R"("dtype":["F32"],"shape":[2],"data_offsets":[0,8])"), 8, "an array where"},
      {tensor(kDims + "[-2]"), 8, "negative number -2"},
      {tensor(kDims + "[2.0]"), 8, "not an integer"},
      {tensor(kDims + "[1e400]"), 8, "not valid JSON"},
      {tensor(kDims + "[18446744073709551616]"), 8, "not an integer below 2^64"},
      {tensor(kDims + "[9223372036854775808]"), 8, "2^63 or more"},
      {tensor(kDims + "[4294967296,4294967296]"), 8, "more elements than 64 bits"},
      {tensor(kDims + "[4611686018427387904,4611686018427387904,0]"), 8, "more elements than"},
      {tensor(kDims + "[1,1,1,1,1,1,1,1,2]"), 8, "more than 8 dims"},
      {tensor(kDims + "[[2]]"), 8, "an array where"},
      {tensor(kDims + "[{}]"), 8, "an object where"},
      {tensor(kDims + "[true]"), 8, "a boolean where"},
      {tensor(kDims + "2"), 8, "a number where"},
      {tensor(kDims + "[3]"), 8, "need 12 bytes, data_offsets give 8"},
      {tensor(kDims + "[0]"), 8, "need 0 bytes, data_offsets give 8"},
      {tensor(kRange + "[0]"), 8, "two numbers"},
      {tensor(kRange + "[0,4,8]"), 8, "two numbers, got more"},
      {tensor(kRange + "[8,0]"), 8, "run backwards"},
      {tensor(kRange + "[-8,0]"), 8, "negative number -8"},
      {tensor(kRange + "[0,16]"), 8, "end at byte 16, the file has 8"},
      {tensor(kRange + "[18446744073709551608,18446744073709551615]"), 8, "end at byte"},
      {tensor(kRange + "[4,12]"), 12, "(hole)"},
      {tensor(kGood), 9, "1 bytes after the last tensor"},
      {kPair + R"({"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", 6, "(overlap)"},
      {kPair + R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "(overlap)"},
      {kPair + R"({"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", 12, "(hole)"},
      {R"({"__metadata__":{"a":1}})", 0, "a number where"},
      {R"({"__metadata__":{"a":{}}})", 0, "an object where"},
      {R"({"__metadata__":{"a":"x","a":"y"}})", 0, "key 'a' is given twice"},
      {R"({"__metadata__":[]})", 0, "an array where"},
      {"{\"t\":" + std::string(100000, '['), 0, "an array where"},
      {R"({"t":{"shape":)" + std::string(100000, '['), 0, "an array where"},
      {R"({"a":{"b":)" + std::string(100000, '{'), 0, "unknown key 'b'"},
      {"{\"" + std::string(5000, 'n') + "\":1}", 0, "... (5000 bytes)"},
      {"{\"a\\nb\":1}", 0, "'a\\x0ab'"},
  };
}

TEST(SafetensorsHostile, EveryBadHeaderIsRefusedWithItsReason) {
  TempFolder folder;
  const std::vector<Hostile> cases = hostile_headers();
  ASSERT_GE(cases.size(), 25u);
  for (const Hostile& bad : cases) {
    test::write_text(folder / "bad", file_with(bad.header.size(), bad.header, bad.data));
    const std::string message =
        message_of<core::InputError>([&] { SafetensorsReader reader(folder / "bad"); });
    const std::string shown = bad.header.substr(0, 120);
    EXPECT_NE(message.find(bad.expected), std::string::npos) << shown << "\n" << message;
    EXPECT_NE(message.find("/bad: "), std::string::npos) << "names the file: " << shown;
    EXPECT_LT(message.size(), 400u) << shown;
  }
}

TEST(SafetensorsHostile, LengthFieldIsBoundedByFileAndFormat) {
  TempFolder folder;
  const std::string header = "{}";
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    test::write_text(folder / "bad", file_with(length, header, 0));
    EXPECT_NE(message_of<core::InputError>([&] {
                SafetensorsReader reader(folder / "bad");
              }).find("header length " + std::to_string(length)),
              std::string::npos);
  }
}

/// Three tensors, one empty, and metadata.
std::string small_file() {
  const std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},)"
      R"("c":{"dtype":"I64","shape":[0,3],"data_offsets":[9,9]}}  )";
  return file_with(header.size(), header, 9);
}

TEST(SafetensorsHostile, TruncatedAnywhereIsRefused) {
  TempFolder folder;
  const std::string whole = small_file();
  test::write_text(folder / "cut", whole);
  const SafetensorsReader intact(folder / "cut");
  EXPECT_EQ(intact.read<double>("a").size(), 2u);
  EXPECT_EQ(intact.read<std::int64_t>("b"), (std::vector<std::int64_t>{1}));
  EXPECT_TRUE(intact.read<std::int64_t>("c").empty());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    test::write_text(folder / "cut", whole.substr(0, size));
    EXPECT_THROW(SafetensorsReader reader(folder / "cut"), core::InputError) << size;
  }
}

TEST(SafetensorsHostile, AnyChangedByteIsRefusedOrHarmless) {
  TempFolder folder;
  const std::string whole = small_file();
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {1, 0x80}) {
      std::string text = whole;
      text[at] = static_cast<char>(text[at] ^ change);
      test::write_text(folder / "changed", text);
      try {
        const SafetensorsReader reader(folder / "changed");
        for (const std::string& name : reader.names()) {
          EXPECT_LE(reader.bytes(name).size(), 9u);
        }
      } catch (const core::InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, static_cast<int>(whole.size()));
}

}  // namespace
}  // namespace strait::io
