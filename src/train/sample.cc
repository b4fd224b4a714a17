#include "train/sample.h"

#include <algorithm>
#include <numeric>

#include "core/rng.h"
#include "train/host_copy.h"

namespace strait::train {
namespace {

/// Logits of the token after `text`; the context is padded at its end, which causal models ignore.
std::vector<double> next_logits(Engine& engine, const std::vector<std::int32_t>& text) {
  parallel::Ctx& ctx = engine.ctx();
  const auto length = static_cast<std::size_t>(engine.config().data.seq_len);
  const std::size_t used = std::min(length, text.size());
  std::vector<std::int32_t> ids(length, 0), labels(length, -1), doc_pos(length);
  std::copy(text.end() - static_cast<std::ptrdiff_t>(used), text.end(), ids.begin());
  std::iota(doc_pos.begin(), doc_pos.end(), 0);
  ctx.tokens = &engine.shard().load(ids, labels, doc_pos, ctx.stream);
  const core::Frame frame(ctx.scratch);
  const Tensor row =
      ctx.scratch.take(engine.table().dtype(), {1, engine.config().model.vocab_size});
  engine.model().begin_step(ctx);
  engine.model().logits(ctx, static_cast<std::int64_t>(used) - 1, row);
  return to_doubles(row, ctx.stream);
}

}  // namespace

std::vector<std::int32_t> sample(Engine& engine, std::vector<std::int32_t> prompt,
                                 const SampleOptions& options) {
  const core::Rng rng(options.seed, "sample");
  std::vector<std::int32_t> text = std::move(prompt);
  const std::size_t begin = text.size();
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    const double u = rng.uniform(static_cast<std::uint64_t>(i));
    const std::int32_t token = draw(next_logits(engine, text), options.rule, u);
    if (token == options.stop) break;
    text.push_back(token);
  }
  return {text.begin() + static_cast<std::ptrdiff_t>(begin), text.end()};
}

std::vector<std::int32_t> generate(Decoder& decoder, const std::vector<std::int32_t>& prompt,
                                   const SampleOptions& options,
                                   const std::function<void(std::int32_t)>& each) {
  const core::Rng rng(options.seed, "sample");
  std::vector<std::int32_t> text;
  decoder.restart();
  std::vector<double> logits = decoder.read(prompt);
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    const std::int32_t token =
        draw(logits, options.rule, rng.uniform(static_cast<std::uint64_t>(i)));
    if (token == options.stop) break;
    text.push_back(token);
    if (each) each(token);
    if (i + 1 < options.tokens) logits = decoder.read(std::span(&token, 1));
  }
  return text;
}

}  // namespace strait::train
