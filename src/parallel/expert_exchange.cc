#include "parallel/expert_exchange.h"

#include "kernels/memory.h"
#include "parallel/beside.h"

namespace strait::parallel {
namespace {

std::int64_t row_bytes(const Tensor& x) {
  return x.shape[1] * static_cast<std::int64_t>(kernels::size_of(x.dtype));
}

}  // namespace

void ExpertExchange::agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows,
                           const Tensor& block_offsets) {
  group_ = &ctx.groups.axis(core::Axis::ep);
  ranks_ = group_->size();
  rank_ = group_->rank();
  rows_ = rows;
  block_offsets_ = block_offsets;
  const std::int64_t entries = offsets.shape[0];
  experts_ = (entries - 1) / ranks_;
  all_.assign(static_cast<std::size_t>(ranks_ * entries), 0);
  const core::Frame frame(ctx.scratch);
  const Tensor gathered = ctx.scratch.take(DType::i32, {ranks_, entries});
  group_->all_gather(offsets, gathered, ctx.stream, "ep offsets");
  if (ctx.stream.device == Device::plan) return balance(entries);
  kernels::copy_to_host(all_.data(), gathered.data, gathered.bytes(), ctx.stream);
  kernels::synchronise(ctx.stream);
  write_offsets(ctx);
}

/// What a plan counts with; buffers hold the worst case.
void ExpertExchange::balance(std::int64_t entries) {
  for (int r = 0; r < ranks_; ++r) {
    for (std::int64_t e = 0; e < entries; ++e) {
      all_[r * entries + e] = static_cast<std::int32_t>(rows_ * e / (entries - 1));
    }
  }
}

void ExpertExchange::write_offsets(Ctx& ctx) {
  blocks_.clear();
  for (int source = 0; source < ranks_; ++source) {
    for (std::int64_t e = 0; e <= experts_; ++e) {
      const std::int64_t expert = rank_ * experts_ + e;
      blocks_.push_back(
          static_cast<std::int32_t>(first(source, expert) - first(source, rank_ * experts_)));
    }
  }
  kernels::copy_to_device(block_offsets_.data, blocks_.data(), block_offsets_.bytes(), ctx.stream);
}

ExpertExchange::Block ExpertExchange::block(int i) const {
  const int source = i == 0 ? rank_ : group_->sender(i - 1);
  return {
      .source = source,
      .first = source * rows_,
      .rows = sent(source, rank_),
      .offsets = ConstTensor(block_offsets_.slice(0, source, 1).data, DType::i32, {experts_ + 1})};
}

Tensor ExpertExchange::rows_for(int owner, const Tensor& sorted, int rank) const {
  return sorted.slice(0, first(rank, owner * experts_), sent(rank, owner));
}

Tensor ExpertExchange::rows_from(int source, const Tensor& received, int owner) const {
  return received.slice(0, source * rows_, sent(source, owner));
}

ExpertExchange::Parts ExpertExchange::parts_of(const Tensor& sorted, const Tensor& received) const {
  Parts parts;
  for (int peer = 0; peer < ranks_; ++peer) {
    if (peer == rank_) continue;
    const Tensor out = rows_for(peer, sorted, rank_), in = rows_from(peer, received, rank_);
    if (out.shape[0] > 0) parts.sorted.push_back({peer, out});
    if (in.shape[0] > 0) parts.received.push_back({peer, in});
  }
  return parts;
}

void ExpertExchange::send(Ctx& ctx, Peers* peers, const Tensor& sorted, const Tensor& received,
                          const char* what) const {
  beside(ctx, [&](const Stream& stream) {
    if (!peers) {
      const Parts parts = parts_of(sorted, received);
      return group_->exchange(parts.sorted, parts.received, stream, what);
    }
    group_->count(what, (rows_ - skipped() - sent(rank_, rank_)) * row_bytes(sorted));
    peers->allow(received, stream);
    for (int i = 0; i + 1 < ranks_; ++i) {
      const int owner = group_->receiver(i);
      peers->send(owner, rows_for(owner, sorted, rank_), rows_from(rank_, received, owner), stream);
    }
  });
}

void ExpertExchange::await(Ctx& ctx, Peers* peers, const Block& block) const {
  if (block.source == rank_) return;
  if (!peers) return await_beside(ctx);
  await_peer(ctx, *peers, block.source);
}

void ExpertExchange::dispatch(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                              const char* what) const {
  send(ctx, ctx.peers.dispatch, sorted, received, what);
}

void ExpertExchange::await(Ctx& ctx, const Block& block) const {
  await(ctx, ctx.peers.dispatch, block);
}

void ExpertExchange::dispatch_ahead(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                                    const char* what) const {
  send(ctx, ctx.peers.ahead, sorted, received, what);
}

void ExpertExchange::await_ahead(Ctx& ctx, const Block& block) const {
  await(ctx, ctx.peers.ahead, block);
}

void ExpertExchange::begin_collect(Ctx& ctx, const Tensor& sorted, const char* what) const {
  if (!ctx.peers.collect) return;
  std::int64_t rows = 0;
  for (int i = 0; i + 1 < ranks_; ++i) rows += sent(group_->sender(i), rank_);
  group_->count(what, rows * row_bytes(sorted));
  beside(ctx, [&](const Stream& stream) { ctx.peers.collect->allow(sorted, stream); });
}

void ExpertExchange::collect(Ctx& ctx, int i, const Tensor& received, const Tensor& sorted,
                             const char* what) const {
  const int source = block(i).source;
  if (ctx.peers.collect && i > 0) {
    beside(ctx, [&](const Stream& stream) {
      ctx.peers.collect->send(source, rows_from(source, received, rank_),
                              rows_for(rank_, sorted, source), stream);
    });
  } else if (!ctx.peers.collect && i + 1 == ranks_) {
    const Parts parts = parts_of(sorted, received);
    beside(ctx, [&](const Stream& stream) {
      group_->exchange(parts.received, parts.sorted, stream, what);
    });
  }
}

void ExpertExchange::end_collect(Ctx& ctx) const {
  for (int i = 0; ctx.peers.collect && i + 1 < ranks_; ++i) {
    await_peer(ctx, *ctx.peers.collect, group_->sender(i));
  }
  await_beside(ctx);
}

}  // namespace strait::parallel
