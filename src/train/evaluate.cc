#include "train/evaluate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numbers>

#include "kernels/memory.h"

namespace strait::train {
namespace {

constexpr std::size_t kBuckets = 33;  // positions 0, 1, 2-3, 4-7, ...

/// Sums over tokens; one block of numbers, so that one reduction adds those of all ranks.
struct Sums {
  std::array<double, kBuckets> loss{}, labels{};
  double bytes = 0;
};

std::vector<std::int32_t> to_host(const Tensor& tensor, const Stream& stream) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(tensor.numel()));
  kernels::copy_to_host(out.data(), tensor.data, tensor.bytes(), stream);
  return out;
}

/// Counts no label from sequence `first` on.
void leave_out(std::int64_t first, input::Samples& samples) {
  for (std::int64_t at = first * samples.seq_len; at < samples.count * samples.seq_len; ++at) {
    samples.labels[static_cast<std::size_t>(at)] = input::kIgnoredLabel;
  }
}

Sums sums_of(Engine& engine, const input::EvalLoader& loader, const input::Tokenizer& tokenizer,
             std::int64_t max_sequences) {
  parallel::Ctx& ctx = engine.ctx();
  const std::int64_t windows =
      max_sequences > 0 ? std::min(max_sequences, loader.windows()) : loader.windows();
  const std::int64_t per_batch = engine.micro_batch(), ranks = engine.mesh().dp;
  input::Samples samples;
  Sums sums;
  // Every rank runs as many batches of as many sequences, since layers may communicate.
  for (std::int64_t round = 0; round * ranks * per_batch < windows; ++round) {
    const std::int64_t begin = round * ranks * per_batch;
    const std::int64_t first = begin + engine.mesh().dp_rank * per_batch;
    loader.batch(first, std::min(per_batch, windows - begin), samples);
    leave_out(std::max<std::int64_t>(0, windows - first), samples);
    ctx.tokens = &engine.shard().load(samples.ids, samples.labels, samples.doc_pos, ctx.stream);
    const TokenLosses tokens = token_losses(engine);
    for (std::size_t t = 0; t < tokens.loss.size(); ++t) {
      if (tokens.labels[t] == input::kIgnoredLabel) continue;
      const auto bucket = std::bit_width(static_cast<std::uint32_t>(tokens.doc_pos[t]));
      sums.loss[static_cast<std::size_t>(bucket)] += tokens.loss[t];
      sums.labels[static_cast<std::size_t>(bucket)] += 1;
      sums.bytes += tokenizer.bytes_of(tokens.labels[t]);
    }
  }
  const Tensor all(&sums, DType::f64, {static_cast<std::int64_t>(sizeof sums / sizeof(double))});
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
    ctx.groups.axis(axis).all_reduce_sum(all, Stream{});
  }
  return sums;
}

EvalResult result_of(const std::string& name, const Sums& sums) {
  EvalResult result{.name = name};
  double loss = 0, labels = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    loss += sums.loss[i];
    labels += sums.labels[i];
    if (sums.labels[i] == 0) continue;
    result.by_position.push_back({.first = i == 0 ? 0 : std::int64_t{1} << (i - 1),
                                  .labels = static_cast<std::int64_t>(sums.labels[i]),
                                  .loss = sums.loss[i] / sums.labels[i]});
  }
  result.labels = static_cast<std::int64_t>(labels);
  result.loss = loss / std::max(labels, 1.0);
  result.bits_per_byte = loss / (std::numbers::ln2 * std::max(sums.bytes, 1.0));
  return result;
}

}  // namespace

TokenLosses token_losses(Engine& engine) {
  parallel::Ctx& ctx = engine.ctx();
  const core::Frame frame(ctx.scratch);
  const DType stat = kernels::stat_dtype(engine.table().dtype());
  const Tensor losses = ctx.scratch.take(stat, {ctx.tokens->tokens()});
  engine.model().begin_step(ctx);
  engine.model().evaluate(ctx, losses);
  TokenLosses out{.loss = {},
                  .labels = to_host(ctx.tokens->labels, ctx.stream),
                  .doc_pos = to_host(ctx.tokens->doc_pos, ctx.stream)};
  std::vector<char> host(losses.bytes());
  kernels::copy_to_host(host.data(), losses.data, host.size(), ctx.stream);
  kernels::synchronise(ctx.stream);
  for (std::int64_t t = 0; t < losses.numel(); ++t) {
    out.loss.push_back(stat == DType::f64 ? reinterpret_cast<const double*>(host.data())[t]
                                          : reinterpret_cast<const float*>(host.data())[t]);
  }
  return out;
}

Evaluation evaluate(Engine& engine, const std::vector<input::EvalLoader>& loaders,
                    const input::Tokenizer& tokenizer, std::int64_t max_sequences) {
  Evaluation out(1);
  Sums total;
  for (const input::EvalLoader& loader : loaders) {
    const Sums sums = sums_of(engine, loader, tokenizer, max_sequences);
    out.push_back(result_of(loader.name(), sums));
    for (std::size_t i = 0; i < kBuckets; ++i) {
      total.loss[i] += sums.loss[i];
      total.labels[i] += sums.labels[i];
    }
    total.bytes += sums.bytes;
  }
  out.front() = result_of("all", total);
  return out;
}

}  // namespace strait::train
