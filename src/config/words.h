#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "config/config.h"

// The words that stand for enum values in configs and messages, in the order of the enumerators.
namespace strait::config {

template <class Enum>
struct Words;

template <>
struct Words<Device> {
  static constexpr std::array<std::string_view, 3> kList{"auto", "cpu", "cuda"};
};
template <>
struct Words<AttentionKind> {
  static constexpr std::array<std::string_view, 5> kList{"mha", "gqa", "mla", "cca", "ccgqa"};
};
template <>
struct Words<KeyTemperature> {
  static constexpr std::array<std::string_view, 2> kList{"exp", "linear"};
};
template <>
struct Words<RopePositions> {
  static constexpr std::array<std::string_view, 2> kList{"document", "sequence"};
};
template <>
struct Words<FfnKind> {
  static constexpr std::array<std::string_view, 2> kList{"dense", "moe"};
};
template <>
struct Words<RouterKind> {
  static constexpr std::array<std::string_view, 2> kList{"linear", "mlp"};
};
template <>
struct Words<RouterScore> {
  static constexpr std::array<std::string_view, 2> kList{"softmax", "sigmoid"};
};
template <>
struct Words<BiasRule> {
  static constexpr std::array<std::string_view, 2> kList{"sign", "adamw"};
};
template <>
struct Words<OptimKind> {
  static constexpr std::array<std::string_view, 2> kList{"adamw", "muon"};
};
template <>
struct Words<NewtonSchulz> {
  static constexpr std::array<std::string_view, 3> kList{"original", "five_step", "polar_express"};
};
template <>
struct Words<MuonScale> {
  static constexpr std::array<std::string_view, 3> kList{"adamw_rms", "aspect", "unit_rms"};
};
template <>
struct Words<ScheduleKind> {
  static constexpr std::array<std::string_view, 4> kList{"constant", "cosine", "linear", "wsd"};
};
template <>
struct Words<Recompute> {
  static constexpr std::array<std::string_view, 3> kList{"none", "ffn", "block"};
};
template <>
struct Words<KeyExchange> {
  static constexpr std::array<std::string_view, 3> kList{"auto", "gather", "ring"};
};
template <>
struct Words<Compute> {
  static constexpr std::array<std::string_view, 3> kList{"f64", "f32", "bf16"};
};

template <>
struct Words<ResidualStream> {
  static constexpr std::array<std::string_view, 2> kList{"compute", "f32"};
};
template <>
struct Words<DataFormat> {
  static constexpr std::array<std::string_view, 6> kList{"auto",     "strait", "llmc",
                                                         "megatron", "llmq",   "uint16"};
};
template <>
struct Words<Packing> {
  static constexpr std::array<std::string_view, 2> kList{"chunk", "best_fit"};
};
template <>
struct Words<Storage> {
  static constexpr std::array<std::string_view, 2> kList{"wide", "bf16"};
};

/// The word of an enum value, e.g. "ccgqa".
template <class Enum>
constexpr std::string_view word(Enum value) {
  return Words<Enum>::kList[static_cast<std::size_t>(value)];
}
template <>
struct Words<OnBadStep> {
  static constexpr std::array<std::string_view, 4> kList{"off", "stop", "skip", "rewind"};
};

}  // namespace strait::config
