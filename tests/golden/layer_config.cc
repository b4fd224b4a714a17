#include "tests/golden/layer_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/json_text.h"

namespace strait::golden {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxSize = 1 << 20;

[[noreturn]] void refuse(const io::SafetensorsReader& file, const std::string& key,
                         const std::string& why) {
  throw core::InputError(file.origin() + ": metadata " + key + " " + why);
}

json metadata(const io::SafetensorsReader& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    refuse(file, key, "is missing; a layer file holds config and doc_lens");
  }
  return io::parse_json(found->second, file.origin() + ": metadata " + key);
}

/// The values of `config`, each taken once; what is left at the end is unknown.
class Keys {
 public:
  explicit Keys(const io::SafetensorsReader& file) : file_(file), root_(metadata(file, "config")) {
    if (!root_.is_object()) refuse(file_, "config", "is no JSON object");
  }

  std::int64_t size(const std::string& key, std::int64_t fallback = 0) {
    const json value = take(key, fallback);
    if (!value.is_number_integer() || value < 1 || value > kMaxSize) {
      fail(key, value, "an integer from 1 to " + std::to_string(kMaxSize));
    }
    return value.get<std::int64_t>();
  }
  double number(const std::string& key, double fallback, double low, double high) {
    const json value = take(key, fallback);
    if (!value.is_number() || !(value >= low) || !(value <= high)) {
      fail(key, value, "a number from " + json(low).dump() + " to " + json(high).dump());
    }
    return value.get<double>();
  }
  void kind() {
    const json value = take("attn", "cca");
    if (value != "cca" && value != "ccgqa") fail("attn", value, "cca or ccgqa");
  }
  void end() const {
    if (root_.empty()) return;
    refuse(file_, "config", "has the unknown key " + io::printable(root_.begin().key()));
  }
  [[noreturn]] void fail(const std::string& key, const json& value, const std::string& expected) {
    const std::string got = value.dump(-1, ' ', true, json::error_handler_t::replace);
    refuse(file_, "config." + key, "is " + io::printable(got) + ", expected " + expected);
  }

 private:
  json take(const std::string& key, json fallback) {
    const auto found = root_.find(key);
    if (found == root_.end()) return fallback;
    json value = *found;
    root_.erase(found);
    return value;
  }
  const io::SafetensorsReader& file_;
  json root_;
};

config::Model read_model(const io::SafetensorsReader& file) {
  Keys keys(file);
  config::Model model;
  config::Attention& attention = model.attention;
  model.n_layers = 1;
  model.d_model = keys.size("d_model");
  keys.kind();
  attention.n_heads = keys.size("n_heads");
  attention.n_kv_heads = keys.size("n_kv_heads");
  attention.head_dim = keys.size("head_dim");
  if (attention.n_heads % attention.n_kv_heads != 0) {
    keys.fail("n_kv_heads", attention.n_kv_heads,
              "a divisor of n_heads = " + std::to_string(attention.n_heads));
  }
  attention.kind = attention.n_heads == attention.n_kv_heads ? config::AttentionKind::cca
                                                             : config::AttentionKind::ccgqa;
  attention.cca.taps_depthwise = keys.size("k_seq", 2);
  attention.cca.taps_grouped = keys.size("k_ch", 2);
  attention.rope.theta = keys.number("rope_theta", 1e4, 1e-3, 1e12);
  const double fraction = keys.number("rope_frac", 1.0, 0.0, 1.0);
  const double width = static_cast<double>(attention.head_dim);
  // The reference rounds the rotated width down; an odd one has no partner for its last channel.
  const double rotated = std::floor(width * fraction);
  if (std::fmod(rotated, 2.0) != 0) {
    keys.fail("rope_frac", fraction, "an even number of rotated channels in head_dim");
  }
  attention.rope.fraction = rotated / width;
  keys.end();
  return model;
}

}  // namespace

LayerConfig read_layer_config(const io::SafetensorsReader& file, std::int64_t seq_len) {
  LayerConfig config{.model = read_model(file), .documents = {}};
  const json documents = metadata(file, "doc_lens");
  if (documents.is_null()) {
    config.documents = {static_cast<std::int32_t>(seq_len)};
    return config;
  }
  if (!documents.is_array()) refuse(file, "doc_lens", "is neither null nor a list");
  std::int64_t total = 0;
  for (const json& length : documents) {
    if (!length.is_number_integer() || length < 1 || length > seq_len) {
      refuse(file, "doc_lens", "holds a length outside 1 to " + std::to_string(seq_len));
    }
    config.documents.push_back(length.get<std::int32_t>());
    total += config.documents.back();
  }
  if (total != seq_len) {
    refuse(file, "doc_lens",
           "adds up to " + std::to_string(total) + ", a sequence has " + std::to_string(seq_len));
  }
  return config;
}

}  // namespace strait::golden
