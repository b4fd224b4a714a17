#include "io/json_lines.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TempFolder;

TEST(JsonLine, KeepsOrderAndWritesEachType) {
  JsonLine line;
  line.add("step", 7).add("loss", 0.1).add("event", "a \"b\"\n\x01").add("ok", true);
  line.add("nan", std::nan("")).add("inf", -INFINITY);
  line.add("big", std::numeric_limits<std::int64_t>::min()).add("bytes", "\xff");
  EXPECT_EQ(line.text(),
            R"({"step": 7, "loss": 0.1, "event": "a \"b\"\n\u0001", "ok": true, "nan": null, )"
            R"("inf": null, "big": -9223372036854775808, "bytes": ")"
            "\xEF\xBF\xBD\"}");
  EXPECT_EQ(JsonLine().text(), "{}");
}

TEST(JsonLine, NestsObjectsAndLists) {
  JsonLine inner, line;
  inner.add("a", 1);
  line.add("object", inner).add("list", {inner, JsonLine()}).add("none", std::vector<JsonLine>{});
  EXPECT_EQ(line.text(), R"({"object": {"a": 1}, "list": [{"a": 1}, {}], "none": []})");
}

TEST(JsonLine, DoublesReadBackBitForBit) {
  TempFolder folder;
  test::Buffers buffers;
  std::vector<double> want{0.0,     -0.0,        5e-324, 1.7976931348623157e308,
                           1.0 / 3, 123456789.0, 1e22,   2.2250738585072014e-308};
  for (int i = 0; i < 1000; ++i) {
    const double mantissa = static_cast<double>(buffers.below(1000000007)) / 1000000007.0;
    want.push_back(std::ldexp(mantissa, static_cast<int>(buffers.below(600)) - 300));
  }
  JsonLinesWriter writer(folder / "m.jsonl", 0);
  for (const double value : want) writer.write(JsonLine().add("x", value));
  const std::vector<double> got = read_series(folder / "m.jsonl", "x");
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(got[i]), std::bit_cast<std::uint64_t>(want[i])) << i;
  }
}

TEST(JsonLines, EveryLineIsOnDiskAndCounted) {
  TempFolder folder;
  JsonLinesWriter writer(folder / "m.jsonl", 0);
  EXPECT_EQ(writer.offset(), 0);
  for (int step = 1; step <= 3; ++step) {
    writer.write(JsonLine().add("step", step));
    EXPECT_EQ(static_cast<std::int64_t>(fs::file_size(folder / "m.jsonl")), writer.offset());
  }
  EXPECT_EQ(core::read_file(folder / "m.jsonl"), "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n");
}

TEST(JsonLines, ResumeCutsOffWhatCameAfterTheCheckpoint) {
  TempFolder folder;
  const fs::path path = folder / "m.jsonl";
  std::int64_t offset = 0;
  {
    JsonLinesWriter writer(path, 0);
    writer.write(JsonLine().add("step", 1).add("loss", 2.5));
    offset = writer.offset();
    writer.write(JsonLine().add("step", 2).add("loss", std::nan("")));
  }
  JsonLinesWriter writer(path, offset);
  EXPECT_EQ(writer.offset(), offset);
  writer.write(JsonLine().add("event", "resume"));
  writer.write(JsonLine().add("step", 2).add("loss", 2.25));
  EXPECT_EQ(read_series(path, "step"), (std::vector<double>{1, 2}));
  EXPECT_EQ(read_series(path, "loss"), (std::vector<double>{2.5, 2.25}));
}

TEST(JsonLines, BadFilesAreRefusedByName) {
  TempFolder folder;
  const fs::path path = folder / "m.jsonl";
  test::write_text(path, "{\"a\": 1}\n");
  EXPECT_NE(message_of<core::InputError>([&] {
              JsonLinesWriter writer(path, 10);
            }).find("has 9 bytes, the checkpoint was made when it had 10"),
            std::string::npos);
  EXPECT_EQ(fs::file_size(path), 9u);
  EXPECT_NE(message_of<core::RuntimeFault>([&] {
              JsonLinesWriter writer(folder.path(), 0);
            }).find("cannot open"),
            std::string::npos);
  test::write_text(path, "{\"a\": 1}\n{\"a\": \"x\"}\n");
  EXPECT_NE(message_of<core::InputError>([&] {
              read_series(path, "a");
            }).find("line 2: 'a' is not a number"),
            std::string::npos);
  test::write_text(path, "{\"a\": 1}\n{\"a\"");
  EXPECT_NE(message_of<core::InputError>([&] { read_series(path, "a"); }).find("line 2: not valid"),
            std::string::npos);
  test::write_text(path, "{\"a\": null}\n7\n");
  EXPECT_NE(message_of<core::InputError>([&] {
              read_series(path, "a");
            }).find("line 2: expected an object"),
            std::string::npos);
}

TEST(JsonLines, NullReadsAsNan) {
  TempFolder folder;
  JsonLinesWriter writer(folder / "m.jsonl", 0);
  writer.write(JsonLine().add("loss", INFINITY));
  const std::vector<double> got = read_series(folder / "m.jsonl", "loss");
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(std::isnan(got[0]));
}

TEST(JsonFile, IsIndentedAndKeepsOrder) {
  TempFolder folder;
  write_json_file(folder / "p.json", JsonLine().add("revision", "abc").add("a", 0.1));
  EXPECT_EQ(core::read_file(folder / "p.json"), "{\n  \"revision\": \"abc\",\n  \"a\": 0.1\n}\n");
}

}  // namespace
}  // namespace strait::io
