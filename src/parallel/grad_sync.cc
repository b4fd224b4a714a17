#include "parallel/grad_sync.h"

#include <map>

namespace strait::parallel {
namespace {

/// Whether `next` lies right behind `last` in memory.
bool follows(const Tensor& last, const Tensor& next) {
  return static_cast<const char*>(last.data) + last.bytes() == next.data;
}

void append(std::vector<Owned>& pieces, const Owned& piece) {
  if (!pieces.empty() && pieces.back().owner == piece.owner &&
      follows(pieces.back().data, piece.data)) {
    pieces.back().data.shape[0] += piece.data.shape[0];
  } else {
    pieces.push_back(piece);
  }
}

}  // namespace

GradSync::GradSync(core::ParamTable& table, Groups& groups, Device device,
                   const config::Parallel& parallel, const PeerLinks& peers)
    : table_(table),
      groups_(groups),
      data_(groups.beside(core::Axis::dp), peers.data, peers.arriving),
      expert_data_(groups.beside(core::Axis::edp), peers.expert_data, peers.arriving),
      beside_model_(parallel.overlap && groups.world().size() > 1 &&
                    (device != Device::cuda || groups.own_gpus())),
      own_stream_(beside_model_ ? kernels::OwnedStream::urgent(device)
                                : kernels::OwnedStream(Device::plan)),
      moved_(device),
      joined_(device) {
  constexpr double kMiB = 1024 * 1024;
  cut_stages(static_cast<std::int64_t>(parallel.bucket_mib * kMiB), device);
  for (const core::Segment& segment : table.segments()) {
    if (segment.ranks > 1) add_shares(segment);
    add_rest(segment);
  }
}

void GradSync::cut_stages(std::int64_t bucket_bytes, Device device) {
  std::map<int, std::int64_t> sizes;
  const auto element = static_cast<std::int64_t>(kernels::size_of(table_.flat().grad.dtype));
  for (const core::Param* param : table_.in_memory_order()) {
    sizes[param->stage] += param->extent * element;
  }
  if (sizes.empty()) return;
  bucket_of_.resize(static_cast<std::size_t>(sizes.rbegin()->first + 1));
  std::int64_t size = 0;
  for (int stage = sizes.rbegin()->first; stage >= 0; --stage) {
    if (buckets_.empty() || size + sizes[stage] > bucket_bytes) {
      buckets_.emplace_back(device).last = stage;
      size = 0;
    }
    size += sizes[stage];
    buckets_.back().first = stage;
    bucket_of_[static_cast<std::size_t>(stage)] = buckets() - 1;
  }
}

GradSync::Bucket& GradSync::bucket_of(int stage) {
  return buckets_[static_cast<std::size_t>(bucket_of_[static_cast<std::size_t>(stage)])];
}

void GradSync::add_shares(const core::Segment& segment) {
  for (Bucket& bucket : buckets_) bucket.shares.push_back({segment.axis, {}, {}});
  for (const core::Param* param : table_.in_memory_order()) {
    if (!segment.holds(*param)) continue;
    Shares& shares = bucket_of(param->stage).shares.back();
    const auto piece = [&](const Tensor& flat) {
      return Owned{param->owner, flat.slice(0, param->begin, param->extent)};
    };
    append(shares.gradients, piece(table_.flat().grad));
    append(shares.weights, piece(table_.flat().weight));
  }
}

void GradSync::add_rest(const core::Segment& segment) {
  for (const core::Param* param : table_.in_memory_order()) {
    if (!segment.holds(*param) || !param->owned()) continue;
    const Tensor gradients = table_.flat().grad.slice(0, param->begin, param->extent);
    std::vector<Rest>& rest = bucket_of(param->stage).rest;
    const std::vector<core::Axis> axes = segment.axes_beside(param->spec);
    if (!rest.empty() && rest.back().axes == axes && follows(rest.back().gradients, gradients)) {
      rest.back().gradients.shape[0] += gradients.shape[0];
    } else {
      rest.push_back({gradients, axes});
    }
  }
}

void GradSync::sum(const Bucket& bucket, const Stream& stream) {
  for (const Shares& shares : bucket.shares) {
    exchange(shares.axis).sum_to_owners(shares.gradients, stream, "gradients");
  }
  for (const Rest& rest : bucket.rest) {
    for (const core::Axis axis : rest.axes) {
      groups_.beside(axis).all_reduce_sum(rest.gradients, stream, "gradients");
    }
  }
}

void GradSync::begin() {
  summing_ = beside_model_;
  summed_ = 0;
}

void GradSync::stage_done(int stage, const Stream& stream) {
  if (!summing_) return;
  while (summed_ < buckets() && stage <= buckets_[static_cast<std::size_t>(summed_)].first) {
    const Bucket& bucket = buckets_[static_cast<std::size_t>(summed_)];
    bucket.complete.record(stream);
    bucket.complete.hold(beside(stream));
    sum(bucket, beside(stream));
    ++summed_;
  }
}

void GradSync::join(const Stream& stream) {
  if (!summing_) return;
  stage_done(0, stream);
  joined_.record(beside(stream));
  CommClock& clock = groups_.traffic().clock();
  clock.enter(stream);
  joined_.hold(stream);
  clock.leave(stream);
  summing_ = false;
}

void GradSync::finish(const Stream& stream) {
  if (beside_model_) return;
  for (const Bucket& bucket : buckets_) sum(bucket, stream);
}

void GradSync::share_weights(const Stream& stream) {
  if (beside_model_) {
    moved_.record(stream);
    moved_.hold(beside(stream));
  }
  const Stream& carries = beside_model_ ? beside(stream) : stream;
  for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket) {
    for (const Shares& shares : bucket->shares) {
      exchange(shares.axis).share_from_owners(shares.weights, carries, "weights");
    }
    if (beside_model_) bucket->arrived.record(carries);
  }
}

void GradSync::await_weights(int stage, const Stream& stream) const {
  if (!beside_model_) return;
  const auto index = static_cast<std::size_t>(bucket_of_[static_cast<std::size_t>(stage)]);
  // Once a bucket is waited for, those handed out before it are there too.
  if (stage != buckets_[index].first) return;
  const CommClock& clock = groups_.traffic().clock();
  clock.enter(stream);
  buckets_[index].arrived.hold_from_outside(stream);
  clock.leave(stream);
}

void GradSync::await_all(const Stream& stream) const {
  if (beside_model_ && !buckets_.empty()) buckets_.front().arrived.hold(stream);
}

void await_weights(Ctx& ctx, int stage) {
  if (ctx.sync) ctx.sync->await_weights(stage, ctx.stream);
}

void stage_done(Ctx& ctx, int stage) {
  if (ctx.sync) ctx.sync->stage_done(stage, ctx.stream);
}

}  // namespace strait::parallel
