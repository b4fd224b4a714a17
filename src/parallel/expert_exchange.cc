#include "parallel/expert_exchange.h"

#include "kernels/memory.h"
#include "parallel/beside.h"

namespace strait::parallel {

void ExpertExchange::agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows) {
  Communicator& group = ctx.groups.axis(core::Axis::ep);
  ranks_ = group.size();
  rank_ = group.rank();
  const std::int64_t entries = offsets.shape[0];
  experts_ = (entries - 1) / ranks_;
  all_.assign(static_cast<std::size_t>(ranks_ * entries), 0);
  own_.assign(static_cast<std::size_t>(experts_ + 1), 0);
  const core::Frame frame(ctx.scratch);
  const Tensor gathered = ctx.scratch.take(DType::i32, {ranks_, entries});
  group.all_gather(offsets, gathered, ctx.stream, "ep offsets");
  if (ctx.stream.device == Device::plan) {
    // Balanced, for the bytes; but a rank has to hold the worst case.
    for (int r = 0; r < ranks_; ++r) {
      for (std::int64_t e = 0; e < entries; ++e) {
        all_[r * entries + e] = static_cast<std::int32_t>(rows * e / (entries - 1));
      }
    }
    received_ = rows * ranks_;
    return;
  }
  kernels::copy_to_host(all_.data(), gathered.data, gathered.bytes(), ctx.stream);
  kernels::synchronise(ctx.stream);
  for (std::int64_t e = 0; e < experts_; ++e) {
    std::int32_t count = 0;
    for (int r = 0; r < ranks_; ++r) {
      const std::int32_t* at = all_.data() + r * entries + rank_ * experts_ + e;
      count += at[1] - at[0];
    }
    own_[e + 1] = own_[e] + count;
  }
  received_ = own_[experts_];
}

void ExpertExchange::write_offsets(Ctx& ctx, const Tensor& offsets) const {
  kernels::copy_to_device(offsets.data, own_.data(), offsets.bytes(), ctx.stream);
}

ExpertExchange::Parts ExpertExchange::parts_of(const Tensor& sorted, const Tensor& received) const {
  const auto entries = static_cast<std::int64_t>(all_.size()) / ranks_;
  Parts parts;
  const auto first = [&](int rank, std::int64_t expert) { return all_[rank * entries + expert]; };
  for (std::int64_t expert = 0; expert < ranks_ * experts_; ++expert) {
    const std::int64_t begin = first(rank_, expert), size = first(rank_, expert + 1) - begin;
    if (size == 0) continue;
    parts.sorted.push_back({static_cast<int>(expert / experts_), sorted.slice(0, begin, size)});
  }
  std::int64_t at = 0;
  for (std::int64_t e = 0; e < experts_; ++e) {
    for (int source = 0; source < ranks_; ++source) {
      const std::int64_t expert = rank_ * experts_ + e;
      const std::int64_t size = first(source, expert + 1) - first(source, expert);
      if (size > 0) parts.received.push_back({source, received.slice(0, at, size)});
      at += size;
    }
  }
  return parts;
}

void ExpertExchange::dispatch(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                              const char* what) const {
  const Parts parts = parts_of(sorted, received);
  ctx.groups.axis(core::Axis::ep).exchange(parts.sorted, parts.received, ctx.stream, what);
}

void ExpertExchange::collect(Ctx& ctx, const Tensor& received, const Tensor& sorted,
                             const char* what) const {
  const Parts parts = parts_of(sorted, received);
  ctx.groups.axis(core::Axis::ep).exchange(parts.received, parts.sorted, ctx.stream, what);
}

void ExpertExchange::dispatch_beside(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                                     const char* what) const {
  const Parts parts = parts_of(sorted, received);
  Communicator& group = ctx.groups.axis(core::Axis::ep);
  beside(ctx,
         [&](const Stream& stream) { group.exchange(parts.sorted, parts.received, stream, what); });
}

void ExpertExchange::collect_beside(Ctx& ctx, const Tensor& received, const Tensor& sorted,
                                    const char* what) const {
  const Parts parts = parts_of(sorted, received);
  Communicator& group = ctx.groups.axis(core::Axis::ep);
  beside(ctx,
         [&](const Stream& stream) { group.exchange(parts.received, parts.sorted, stream, what); });
}

}  // namespace strait::parallel
