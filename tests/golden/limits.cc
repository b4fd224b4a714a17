#include "tests/golden/limits.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "io/json_text.h"
#include "io/mapped_file.h"

namespace strait::golden {
namespace {

namespace fs = std::filesystem;

constexpr Limits kModelF64{.loss = 1e-6, .outputs = 2e-6, .gradients = 1e-5};
constexpr Limits kLayerF64{.loss = 0, .outputs = 1e-10, .gradients = 1e-10};
constexpr Limits kUnmeasuredF32{.loss = 1e-5, .outputs = 5e-6, .gradients = 2e-5};
constexpr Limits kCudaF32{.loss = 1e-4, .outputs = 1e-4, .gradients = 1e-4};
constexpr double kNaiveFactor = 2;

/// CRC-32 as in zlib.
std::uint32_t checksum(const fs::path& path) {
  const io::MappedFile file(path);
  std::uint32_t crc = ~0u;
  for (const std::byte byte : file.bytes()) {
    crc ^= std::to_integer<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

/// Twice the naive error of this very case; null where the table has no measurement of it.
std::optional<Limits> naive_limits(const std::string& table, const fs::path& path,
                                   const fs::path& reference) {
  const std::string file = STRAIT_SOURCE_DIR "/tests/golden/" + table;
  const nlohmann::json cases = io::parse_json(core::read_file(file), file).at("cases");
  const auto found = cases.find(name_of(path));
  if (found == cases.end()) return {};
  if (found->at("crc32").get<std::uint32_t>() != checksum(reference)) return {};
  return Limits{.loss = kNaiveFactor * found->value("token_loss", 0.0),  // layers have none
                .outputs = kNaiveFactor * found->at("outputs").get<double>(),
                .gradients = kNaiveFactor * found->at("gradients").get<double>()};
}

}  // namespace

Limits limits_of(const fs::path& path, CaseKind kind, const Backend& backend) {
  const fs::path reference = kind == CaseKind::model ? reference_of(path, backend) : path;
  switch (backend.compute) {
    case config::Compute::f64:
      return kind == CaseKind::model ? kModelF64 : kLayerF64;
    case config::Compute::f32:
      if (backend.device == Device::cuda) return kCudaF32;
      return naive_limits("naive_f32.json", path, reference).value_or(kUnmeasuredF32);
    case config::Compute::bf16:
      if (const auto limits = naive_limits("naive_bf16.json", path, reference)) return *limits;
  }
  throw core::InputError(
      "no naive bf16 evaluation of this case is stored; add it to "
      "naive_float.py and run that, or give a limit with --tol");
}

std::string name_of(const fs::path& path) {
  const fs::path clean = (path / "").lexically_normal().parent_path();  // without a last slash
  return clean.extension() == ".safetensors" ? clean.stem().string() : clean.filename().string();
}

}  // namespace strait::golden
