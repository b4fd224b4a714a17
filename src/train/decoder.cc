#include "train/decoder.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/memory.h"
#include "train/engine.h"
#include "train/host_copy.h"

namespace strait::train {
namespace {

constexpr std::int64_t kChunk = 512;  // tokens of one pass over a prompt
constexpr std::int64_t kRows = 6;

}  // namespace

Decoder::Decoder(const config::Config& config, std::int64_t capacity, Device device)
    : config_(config),
      capacity_(capacity),
      chunk_(std::min(capacity, kChunk)),
      table_(param_dtypes(config, false)),
      model_(build_of(config_, mesh_, table_), config::Recompute::none),
      ctx_(arenas_.ctx(groups_)) {
  ctx_.cache = &cache_;
  table_.allocate(Device::plan);
  plan();
  stream_ = kernels::OwnedStream(device);
  ctx_.stream = stream_.get();
  table_.allocate(device);
  arenas_.allocate(device);
  cache_.memory.allocate(device);
  bind();
  restart();
}

/// The longest pass at the end of the longest text takes the most memory.
void Decoder::plan() {
  bind();
  cache_.past = capacity_ - chunk_;
  run(std::vector<std::int32_t>(static_cast<std::size_t>(chunk_)), std::min(chunk_, kMaxRows));
}

void Decoder::bind() {
  cache_.layers.clear();
  cache_.capacity = capacity_;
  rows_ = arenas_.inputs.take(DType::i32, {kRows, chunk_});
  cache_.positions = arenas_.inputs.take(DType::i32, {capacity_});
  host_.assign(static_cast<std::size_t>(kRows * chunk_), 0);
  arenas_.state.release(0);
}

void Decoder::restart() {
  cache_.past = 0;
  std::vector<std::int32_t> places(static_cast<std::size_t>(capacity_));
  std::iota(places.begin(), places.end(), 0);
  kernels::copy_to_device(cache_.positions.data, places.data(), cache_.positions.bytes(),
                          ctx_.stream);
  kernels::synchronise(ctx_.stream);
  // Rows that no token has reached are multiplied by nothing, but must be numbers.
  kernels::launch(kernels::Fill{.x = cache_.memory.block(), .value = 0}, ctx_.stream);
}

void Decoder::fill_inputs(std::span<const std::int32_t> tokens) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  const config::Attention& attention = config_.model.attention;
  const auto row = [&](std::int64_t i) { return host_.data() + i * chunk_; };
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t at = cache_.past + i;
    const auto first = [&](std::int64_t window) {
      return static_cast<std::int32_t>(window > 0 ? std::max<std::int64_t>(0, at + 1 - window) : 0);
    };
    row(0)[i] = tokens[static_cast<std::size_t>(i)];
    row(1)[i] = -1;
    row(2)[i] = static_cast<std::int32_t>(at);
    row(3)[i] = first(attention.window);
    row(4)[i] = first(attention.sliding.window);
    row(5)[i] = static_cast<std::int32_t>(at + 1);
  }
  kernels::copy_to_device(rows_.data, host_.data(), rows_.bytes(), ctx_.stream);
  kernels::synchronise(ctx_.stream);
  const auto device_row = [&](std::int64_t i) {
    return Tensor(rows_.slice(0, i, 1).data, DType::i32, {n});
  };
  batch_ = {};
  batch_.sequences = 1;
  batch_.length = batch_.seq_len = batch_.chunk = n;
  batch_.ids = device_row(0);
  batch_.labels = device_row(1);
  batch_.positions = batch_.doc_pos = batch_.place = device_row(2);
  batch_.spans.k_begin = device_row(3);
  batch_.sliding.k_begin = device_row(4);
  batch_.spans.k_end = batch_.sliding.k_end = device_row(5);
}

std::vector<double> Decoder::run(std::span<const std::int32_t> tokens, std::int64_t rows) {
  fill_inputs(tokens);
  ctx_.tokens = &batch_;
  const core::Frame frame(ctx_.scratch);
  const auto n = static_cast<std::int64_t>(tokens.size());
  const Tensor logits = ctx_.scratch.take(table_.dtype(), {rows, vocab_size()});
  model_.begin_step(ctx_);
  model_.logits(ctx_, n - rows, logits);
  if (ctx_.stream.device == Device::plan) return {};
  return to_doubles(logits, ctx_.stream);
}

std::vector<double> Decoder::read(std::span<const std::int32_t> tokens, std::int64_t rows) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  if (n == 0 || cache_.past + n > capacity_ || rows > std::min(n, kMaxRows)) {
    throw core::InputError("a text of " + std::to_string(cache_.past + n) + " tokens, " +
                           std::to_string(rows) + " rows of logits, does not fit a decoder of " +
                           std::to_string(capacity_) + " and " + std::to_string(kMaxRows));
  }
  std::vector<double> logits;
  for (std::int64_t begin = 0; begin < n; begin += chunk_) {
    const std::int64_t size = std::min(chunk_, n - begin);
    const std::int64_t wanted = std::clamp<std::int64_t>(begin + size - (n - rows), 1, size);
    auto part = run(tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size)),
                    wanted);
    cache_.past += size;
    if (begin + size > n - rows) logits.insert(logits.end(), part.begin(), part.end());
  }
  return logits;
}

std::int64_t Decoder::cache_bytes_per_token() const {
  std::size_t bytes = 0;
  for (const parallel::LayerCache& layer : cache_.layers) {
    for (const Tensor& rows : {layer.k, layer.v, layer.latent}) {
      if (rows.defined()) bytes += rows.bytes() / static_cast<std::size_t>(capacity_);
    }
  }
  return static_cast<std::int64_t>(bytes);
}

std::int64_t Decoder::cache_fixed_bytes() const {
  std::size_t bytes = 0;
  for (const parallel::LayerCache& layer : cache_.layers) {
    for (const Tensor& rows : {layer.z, layer.v_del}) {
      if (rows.defined()) bytes += rows.bytes();
    }
  }
  return static_cast<std::int64_t>(bytes);
}

}  // namespace strait::train
