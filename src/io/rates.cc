#include "io/rates.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace strait::io {
namespace {

using nlohmann::json;

class Reader {
 public:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw core::InputError(path_ + ": " + what + "; write it anew with scripts/gpu_rates.py");
  }

  const json& at(const json& object, const char* key) const {
    if (!object.is_object() || !object.contains(key)) {
      fail(std::string("expected an object with \"") + key + "\"");
    }
    return object.at(key);
  }

  /// A number of at least 0, above 0 where `positive`.
  double number(const json& object, const char* key, bool positive = true) const {
    const json& value = at(object, key);
    if (!value.is_number() || value < 0 || (positive && value == 0)) {
      fail(std::string("\"") + key + "\" = " + value.dump() + ", expected a number " +
           (positive ? "above 0" : "of at least 0"));
    }
    return value.get<double>();
  }

  std::int64_t whole(const json& object, const char* key) const {
    const json& value = at(object, key);
    if (!value.is_number_integer() || value < 1) {
      fail(std::string("\"") + key + "\" = " + value.dump() + ", expected a whole number above 0");
    }
    return value.get<std::int64_t>();
  }

  std::string text(const json& object, const char* key) const {
    const json& value = at(object, key);
    if (!value.is_string()) fail(std::string("\"") + key + "\": expected a string");
    return value.get<std::string>();
  }

  const json& list(const json& object, const char* key) const {
    const json& value = at(object, key);
    if (!value.is_array()) fail(std::string("\"") + key + "\": expected a list");
    return value;
  }

  json parse(const std::string& text) const {
    json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) fail("is no JSON");
    return object;
  }

 private:
  std::string path_;
};

}  // namespace

Rates read_rates(const std::filesystem::path& path) {
  const Reader reader(path.string());
  const json object = reader.parse(core::read_file(path));
  Rates rates;
  rates.device = reader.text(object, "device");
  rates.revision = reader.text(object, "revision");
  rates.date = reader.text(object, "date");
  rates.copy = reader.number(object, "copy_bytes_per_second");
  rates.launch = reader.number(object, "launch_seconds", false);
  const json& ops = reader.at(object, "ops");
  if (!ops.is_object()) reader.fail("\"ops\": expected an object");
  for (const auto& [name, op] : ops.items()) {
    rates.ops[name] = {.flops = reader.number(op, "flops_per_second", false),
                       .bytes = reader.number(op, "bytes_per_second", false)};
  }
  for (const json& core : reader.list(object, "attention")) {
    const json& grouped = reader.at(core, "grouped");
    if (!grouped.is_boolean()) reader.fail("\"grouped\": expected true or false");
    rates.cores.push_back({.key_dim = reader.whole(core, "key_dim"),
                           .grouped = grouped.get<bool>(),
                           .length = reader.whole(core, "length"),
                           .forward = reader.number(core, "forward_flops_per_second"),
                           .backward = reader.number(core, "backward_flops_per_second")});
  }
  for (const json& core : reader.list(object, "general_attention")) {
    rates.general_cores.push_back({.key_dim = reader.whole(core, "key_dim"),
                                   .length = reader.whole(core, "length"),
                                   .backward = reader.number(core, "backward_flops_per_second")});
  }
  for (const json& link : reader.list(object, "links")) {
    rates.links.push_back({.ranks = reader.whole(link, "ranks"),
                           .bytes = reader.number(link, "bytes_per_second"),
                           .device = reader.text(link, "device")});
  }
  if (!rates.ops.contains("Gemm")) reader.fail("\"ops\" lacks \"Gemm\"");
  if (rates.cores.empty()) reader.fail("\"attention\" is empty");
  return rates;
}

}  // namespace strait::io
