#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "core/files.h"
#include "io/safetensors_writer.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using test::Buffers;
using test::message_of;
using test::TempFolder;

const fs::path kGolden = fs::path(STRAIT_SOURCE_DIR) / "tests/golden";

/// A file with one tensor "x" of the given stored bits.
template <class Bits>
SafetensorsReader file_of(const TempFolder& folder, const std::string& dtype,
                          const std::vector<Bits>& bits) {
  const std::size_t bytes = bits.size() * sizeof(Bits);
  const std::string header = R"({"x":{"dtype":")" + dtype + R"(","shape":[)" +
                             std::to_string(bits.size()) + R"(],"data_offsets":[0,)" +
                             std::to_string(bytes) + "]}}";
  const std::uint64_t length = header.size();
  std::string text(reinterpret_cast<const char*>(&length), sizeof(length));
  text += header;
  text.append(reinterpret_cast<const char*>(bits.data()), bytes);
  test::write_text(folder / "one.safetensors", text);
  return SafetensorsReader(folder / "one.safetensors");
}

TEST(Safetensors, RoundTripIsBitExactInEveryWrittenDtype) {
  TempFolder folder;
  Buffers buffers;
  const Tensor f64 = buffers.normal(DType::f64, {3, 5});
  const Tensor f32 = buffers.normal(DType::f32, {2, 3, 7});
  const Tensor i32 = buffers.ints({-1, 0, 7, 2147483647, -2147483647}, {5});
  Tensor i64 = buffers.zeros(DType::i64, {2});
  i64.as<std::int64_t>()[0] = std::numeric_limits<std::int64_t>::min();
  i64.as<std::int64_t>()[1] = std::numeric_limits<std::int64_t>::max();
  f64.as<double>()[0] = -0.0;
  f64.as<double>()[1] = std::numeric_limits<double>::denorm_min();
  f32.as<float>()[0] = std::numeric_limits<float>::infinity();
  const fs::path path = folder / "all.safetensors";
  write_safetensors(path,
                    {host_source("i32", i32), host_source("f64", f64), host_source("f32", f32),
                     host_source("i64", i64)},
                    {{"key", "value \" \n"}});

  const SafetensorsReader reader(path);
  EXPECT_EQ(reader.names(), (std::vector<std::string>{"f32", "f64", "i32", "i64"}));
  EXPECT_EQ(reader.metadata().at("key"), "value \" \n");
  EXPECT_EQ(reader.info("f32").shape, (std::vector<std::int64_t>{2, 3, 7}));
  const std::pair<const char*, Tensor> written[] = {
      {"f64", f64}, {"f32", f32}, {"i32", i32}, {"i64", i64}};
  for (const auto& [name, tensor] : written) {
    const auto bytes = reader.bytes(name);
    ASSERT_EQ(bytes.size(), tensor.bytes());
    EXPECT_EQ(std::memcmp(bytes.data(), tensor.data, bytes.size()), 0) << name;
    EXPECT_EQ(reader.info(name).dtype, safetensors_dtype(tensor.dtype));
  }
  EXPECT_EQ(reader.read<std::int64_t>("i64")[0], std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(reader.read<std::int64_t>("i32")[3], 2147483647);
  EXPECT_EQ(reader.read<double>("f32")[5], static_cast<double>(f32.as<float>()[5]));
  EXPECT_EQ(reader.read<float>("f64")[7], static_cast<float>(f64.as<double>()[7]));
}

TEST(Safetensors, FileDependsOnContentsNotOnOrder) {
  TempFolder folder;
  Buffers buffers;
  const Tensor a = buffers.ints({1, 2, 3}, {3});
  const Tensor b = buffers.normal(DType::f64, {2});
  write_safetensors(folder / "ab", {host_source("a", a), host_source("b", b)});
  write_safetensors(folder / "ba", {host_source("b", b), host_source("a", a)});
  const std::string text = core::read_file(folder / "ab");
  EXPECT_EQ(text, core::read_file(folder / "ba"));
  EXPECT_EQ(text.size() % 4, 0u);
  std::uint64_t header = 0;
  std::memcpy(&header, text.data(), sizeof(header));
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(std::memcmp(text.data() + 8 + header, b.data, b.bytes()), 0) << "widest first";
}

TEST(Safetensors, WriterRefusesBadInputAndLeavesNoFile) {
  TempFolder folder;
  Buffers buffers;
  const Tensor a = buffers.normal(DType::f32, {4});
  const auto write = [&](std::vector<TensorSource> sources) {
    return message_of<core::InputError>(
        [&] { write_safetensors(folder / "bad", std::move(sources)); });
  };
  EXPECT_NE(write({host_source("a", a), host_source("a", a)}).find("twice"), std::string::npos);
  EXPECT_NE(write({host_source("__metadata__", a)}).find("reserved"), std::string::npos);
  TensorSource small = host_source("a", a);
  small.shape = {5};
  EXPECT_NE(write({small}).find("need 20 bytes, got 16"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(folder.path()));
  const Tensor rows = buffers.normal(DType::f32, {4, 6}).slice(1, 1, 2);
  EXPECT_THROW(host_source("rows", rows), core::InputError);
}

TEST(Safetensors, SixteenBitFloatsConvertExactly) {
  TempFolder folder;
  const auto f16 = file_of<std::uint16_t>(
      folder, "F16",
      {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00, 0x3555});
  const std::vector<double> want{0.0,
                                 -0.0,
                                 1.0,
                                 -2.0,
                                 65504.0,
                                 0x1p-24,
                                 1023.0 * 0x1p-24,
                                 0x1p-14,
                                 INFINITY,
                                 -INFINITY,
                                 1365.0 * 0x1p-12};
  const std::vector<double> got = f16.read<double>("x");
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint64_t>(got[i]), std::bit_cast<std::uint64_t>(want[i])) << i;
  }
  EXPECT_TRUE(std::isnan(file_of<std::uint16_t>(folder, "F16", {0x7e00}).read<float>("x")[0]));

  const auto bf16 = file_of<std::uint16_t>(folder, "BF16", {0x3f80, 0xc040, 0x0001, 0x7f80});
  const std::vector<float> wide = bf16.read<float>("x");
  EXPECT_EQ(wide, (std::vector<float>{1.0f, -3.0f, 0x1p-133f, INFINITY}));
}

TEST(Safetensors, IntegersWidenAndKindsDoNotMix) {
  TempFolder folder;
  EXPECT_EQ(file_of<std::int8_t>(folder, "I8", {-128, 5}).read<std::int64_t>("x"),
            (std::vector<std::int64_t>{-128, 5}));
  EXPECT_EQ(file_of<std::int16_t>(folder, "I16", {-300}).read<std::int64_t>("x")[0], -300);
  EXPECT_EQ(file_of<std::uint8_t>(folder, "U8", {255}).read<std::int64_t>("x")[0], 255);
  EXPECT_EQ(file_of<std::uint8_t>(folder, "BOOL", {1}).read<std::int64_t>("x")[0], 1);
  EXPECT_EQ(file_of<std::uint16_t>(folder, "U16", {65535}).read<std::int64_t>("x")[0], 65535);
  const auto u32 = file_of<std::uint32_t>(folder, "U32", {4294967295u});
  EXPECT_EQ(u32.read<std::int64_t>("x")[0], 4294967295);
  EXPECT_NE(message_of<core::InputError>([&] { u32.read<float>("x"); }).find("F64, F32, BF16"),
            std::string::npos);
  std::vector<std::int64_t> wrong(2);
  EXPECT_NE(message_of<core::InputError>([&] {
              u32.read_into("x", std::span(wrong));
            }).find("expected 2 elements"),
            std::string::npos);
  EXPECT_NE(message_of<core::InputError>([&] { u32.info("y"); }).find("has no tensor 'y'"),
            std::string::npos);
}

TEST(Safetensors, ReadsEveryGoldenFile) {
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kGolden)) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsReader reader(entry.path());
    EXPECT_FALSE(reader.names().empty()) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 2 * 10 + 6 + 5);  // models, second references of mixtures, layers
}

TEST(Safetensors, GoldenLossIsTheMeanOfItsTokenLosses) {
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(kGolden)) {
    if (!fs::exists(entry.path() / "reference.safetensors")) continue;
    const SafetensorsReader reader(entry.path() / "reference.safetensors");
    const std::vector<double> losses = reader.read<double>("token_loss");
    const double mean = std::accumulate(losses.begin(), losses.end(), 0.0) / losses.size();
    EXPECT_NEAR(reader.read<double>("loss")[0], mean, 1e-6 * mean) << entry.path();
    const std::vector<std::int64_t> ids = reader.read<std::int64_t>("input_ids");
    const auto& shape = reader.info("logits").shape;
    for (const std::int64_t id : ids) EXPECT_TRUE(id >= 0 && id < shape[2]);
    EXPECT_EQ(static_cast<std::int64_t>(ids.size()), shape[0] * shape[1]);
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

/// Two shards and an index that lists `map`.
void write_shards(const TempFolder& folder, const std::string& map) {
  Buffers buffers;
  const Tensor a = buffers.ints({1, 2}, {2});
  const Tensor b = buffers.ints({3}, {1});
  write_safetensors(folder / "m-1.safetensors", {host_source("a", a)});
  write_safetensors(folder / "m-2.safetensors", {host_source("b", b)});
  test::write_text(folder / "model.safetensors.index.json",
                   R"({"metadata":{"total_size":12},"weight_map":)" + map + "}");
}

TEST(Safetensors, ShardedFolderReadsAsOne) {
  TempFolder folder;
  write_shards(folder, R"({"a":"m-1.safetensors","b":"m-2.safetensors"})");
  const SafetensorsReader reader(folder.path());
  EXPECT_EQ(reader.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(reader.read<std::int64_t>("a"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(reader.read<std::int64_t>("b"), (std::vector<std::int64_t>{3}));
}

TEST(Safetensors, IndexMustAgreeWithTheShards) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"a":"m-1.safetensors","b":"m-1.safetensors"})", "'b' is not in 'm-1"},
      {R"({"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-2.safetensors"})", "'c' is not in"},
      {R"({"a":"../m-1.safetensors"})", "same folder"},
      {R"({"a":".."})", "same folder"},
      {R"({"a":7})", "no string"},
      {R"({"a":"m-1.safetensors","a":"m-2.safetensors"})", "twice"},
      {R"([1])", "weight_map"},
      {R"({"a":"m-3.safetensors"})", "cannot read"},
      {R"({"a":"m-1.safetensors")", "not valid JSON"},
  };
  for (const auto& [map, why] : kCases) {
    TempFolder folder;
    write_shards(folder, map);
    const std::string message =
        message_of<core::InputError>([&] { SafetensorsReader reader(folder.path()); });
    EXPECT_NE(message.find(why), std::string::npos) << map << "\n" << message;
  }
}

TEST(Safetensors, IndexMustListEveryTensorOfAShard) {
  TempFolder folder;
  write_shards(folder, R"({"a":"m-1.safetensors","b":"m-2.safetensors"})");
  Buffers buffers;
  const Tensor a = buffers.ints({1, 2}, {2});
  write_safetensors(folder / "m-1.safetensors", {host_source("a", a), host_source("z", a)});
  EXPECT_NE(message_of<core::InputError>([&] {
              SafetensorsReader reader(folder.path());
            }).find("does not list 'z'"),
            std::string::npos);
  write_safetensors(folder / "m-1.safetensors", {host_source("a", a), host_source("b", a)});
  EXPECT_NE(message_of<core::InputError>([&] {
              SafetensorsReader reader(folder.path());
            }).find("'b' is also in m-1"),
            std::string::npos);
}

TEST(Safetensors, AbsentFilesAreNamed) {
  TempFolder folder;
  EXPECT_NE(message_of<core::InputError>([&] {
              SafetensorsReader reader(folder.path());
            }).find("neither model.safetensors nor"),
            std::string::npos);
  EXPECT_NE(message_of<core::InputError>([&] {
              SafetensorsReader reader(folder / "absent");
            }).find("absent: cannot read: No such file"),
            std::string::npos);
  fs::create_directory(folder / "model.safetensors");
  EXPECT_NE(message_of<core::InputError>([&] {
              SafetensorsReader reader(folder.path());
            }).find("not a regular file"),
            std::string::npos);
}

}  // namespace
}  // namespace strait::io
