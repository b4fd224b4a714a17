#include "train/decoder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "io/hf_import.h"
#include "kernels/memory.h"
#include "tests/train/program.h"
#include "train/sample.h"

// Decoding with a cache equals reading the whole text anew.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = fs::path(STRAIT_SOURCE_DIR) / "tests/golden";

std::vector<std::int32_t> text_of(std::int64_t length, std::int64_t vocab) {
  std::vector<std::int32_t> text;
  for (std::int64_t i = 0; i < length; ++i) {
    text.push_back(static_cast<std::int32_t>((i * i * 7 + i * 3 + 5) % vocab));
  }
  return text;
}

double largest_difference(std::span<const double> a, std::span<const double> b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

struct Case {
  const char* golden;
  void (*change)(config::Model&);
  std::int64_t bytes_per_token, fixed_bytes;  // in double
};

/// In double on the CPU, in float on a GPU, with the same weights.
std::unique_ptr<train::Decoder> decoder_for(const Case& model, std::int64_t capacity,
                                            Device device = Device::cpu) {
  config::Config config;
  config.model = io::model_from_hf(kGolden / model.golden);
  config.precision.compute = device == Device::cpu ? config::Compute::f64 : config::Compute::f32;
  model.change(config.model);
  auto decoder = std::make_unique<train::Decoder>(config, capacity, device);
  decoder->table().initialise(3, decoder->stream());
  return decoder;
}

void none(config::Model&) {}

class Decoding : public ::testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(
    EveryKind, Decoding,
    ::testing::Values(
        // layers x (K and V) x key heads x head_dim x 8 bytes
        Case{"llama_mha", none, 2 * 2 * 4 * 8 * 8, 0},
        Case{"qwen3_gqa", none, 2 * 2 * 2 * 16 * 8, 0},
        Case{"qwen3_moe", [](config::Model& m) { m.attention.window = 5; }, 2 * 2 * 2 * 16 * 8, 0},
        // layers x (latent and rotated key) x 8 bytes
        Case{"deepseek_v3_mla_moe", none, 2 * (12 + 4) * 8, 0},
        Case{"deepseek_v3_no_q_lora", none, 2 * (12 + 4) * 8, 0},
        // beside K and V, what does not grow: columns of convolutions, delayed values
        Case{"zaya_ccgqa_moe", none, 3 * 2 * 2 * 8 * 8, 3 * (2 * 48 + 8) * 8},
        Case{"zaya_sliding", none, 3 * 2 * 16 * 8, 3 * (3 * 48 + 8) * 8},
        Case{"zaya_ccgqa_moe",
             [](config::Model& m) {
               m.attention.cca.convs = 0;
               m.attention.cca.value_shift = false;
             },
             3 * 2 * 2 * 8 * 8, 0},
        Case{"zaya_ccgqa_moe",
             [](config::Model& m) {
               m.attention.cca.convs = 1;
               m.attention.cca.taps_depthwise = 4;
             },
             3 * 2 * 2 * 8 * 8, 3 * (3 * 48 + 8) * 8},
        // a pass begins where the last one ended, for forced experts too
        Case{"qwen3_moe", [](config::Model& m) { m.ffn.moe.forced_balance = true; },
             2 * 2 * 2 * 16 * 8, 0}),
    [](const auto& info) {
      return std::string(info.param.golden) + "_" + std::to_string(info.index);
    });

TEST_P(Decoding, TokenByTokenEqualsAllAtOnce) {
  constexpr std::int64_t kLength = 20;
  const auto decoder = decoder_for(GetParam(), kLength);
  const std::int64_t vocab = decoder->vocab_size();
  const auto text = text_of(kLength, vocab);
  const std::vector<double> whole = decoder->read(text, kLength);
  ASSERT_EQ(whole.size(), static_cast<std::size_t>(kLength * vocab));
  // Pieces shorter and longer than the convolutions look back.
  for (const std::vector<std::int64_t>& cuts :
       {std::vector<std::int64_t>(kLength, 1), {7, 1, 1, 2, 5, 3, 1}, {19, 1}}) {
    decoder->restart();
    std::int64_t at = 0;
    for (const std::int64_t size : cuts) {
      const auto piece =
          std::span(text).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
      const std::vector<double> logits = decoder->read(piece, size);
      const auto same =
          std::span(whole).subspan(static_cast<std::size_t>(at * vocab), logits.size());
      EXPECT_LT(largest_difference(logits, same), 1e-12) << "tokens from " << at;
      at += size;
    }
    ASSERT_EQ(at, kLength);
  }
}

/// The limit is the one that transformers' own logits in float32 are held to (tests/export).
TEST_P(Decoding, TokenByTokenOnAGpuEqualsTheCpu) {
  if (!kernels::available(Device::cuda)) GTEST_SKIP() << "no CUDA device on this machine";
  constexpr std::int64_t kLength = 20;
  const auto exact = decoder_for(GetParam(), kLength);
  const auto decoder = decoder_for(GetParam(), kLength, Device::cuda);
  const auto text = text_of(kLength, exact->vocab_size());
  const std::vector<double> want = exact->read(text, kLength);
  std::vector<double> got;
  for (const std::int32_t token : text) {
    const std::vector<double> logits = decoder->read(std::span(&token, 1));
    got.insert(got.end(), logits.begin(), logits.end());
  }
  ASSERT_EQ(got.size(), want.size());
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  EXPECT_LT(std::sqrt(error / norm), 1e-5);
}

TEST_P(Decoding, TheCacheHasTheSizeThatTheKindNeeds) {
  const auto decoder = decoder_for(GetParam(), 12);
  decoder->read(text_of(12, decoder->vocab_size()));
  EXPECT_EQ(decoder->cache_bytes_per_token(), GetParam().bytes_per_token);
  EXPECT_EQ(decoder->cache_fixed_bytes(), GetParam().fixed_bytes);
}

TEST(Decoder, RefusesATextLongerThanItsRoom) {
  const auto decoder = decoder_for({"llama_mha", none, 0, 0}, 8);
  decoder->read(text_of(6, 97));
  EXPECT_THROW(decoder->read(text_of(3, 97)), core::InputError);
}

TEST(Decoder, GeneratesTheSameAgainFromTheSameSeed) {
  const auto decoder = decoder_for({"zaya_ccgqa_moe", none, 0, 0}, 40);
  const auto prompt = text_of(5, decoder->vocab_size());
  const auto tokens = [&](std::uint64_t seed) {
    return train::generate(
        *decoder, prompt,
        {.tokens = 30, .rule = {.temperature = 1.0, .top_k = 40, .top_p = 0.95}, .seed = seed});
  };
  EXPECT_EQ(tokens(1), tokens(1));
  EXPECT_NE(tokens(1), tokens(2));
}

/// Shares of the tokens over evenly spaced numbers u.
std::vector<double> shares(const std::vector<double>& logits, const train::DrawRule& rule) {
  constexpr int kDraws = 10000;
  std::vector<double> count(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    const double u = (i + 0.5) / kDraws;
    count[static_cast<std::size_t>(train::draw(logits, rule, u))] += 1.0 / kDraws;
  }
  return count;
}

TEST(Draw, FollowsTheRule) {
  const std::vector<double> logits = {std::log(0.1), std::log(0.4), std::log(0.3), std::log(0.2)};
  const auto expect = [&](const train::DrawRule& rule, const std::vector<double>& want) {
    EXPECT_LT(largest_difference(shares(logits, rule), want), 2e-4);
  };
  expect({.temperature = 0}, {0, 1, 0, 0});
  expect({.temperature = 1}, {0.1, 0.4, 0.3, 0.2});
  expect({.temperature = 0.5}, {0.01 / 0.3, 0.16 / 0.3, 0.09 / 0.3, 0.04 / 0.3});
  expect({.temperature = 1, .top_k = 2}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 1, .top_p = 0.69}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 1, .top_p = 0.71}, {0, 4.0 / 9, 3.0 / 9, 2.0 / 9});
  expect({.temperature = 1, .top_k = 3, .top_p = 0.5}, {0, 4.0 / 7, 3.0 / 7, 0});
  expect({.temperature = 1, .top_p = 0}, {0, 1, 0, 0});
}

}  // namespace
}  // namespace strait::test
