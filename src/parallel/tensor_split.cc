#include "parallel/tensor_split.h"

#include "kernels/elementwise.h"
#include "kernels/launch.h"
#include "kernels/memory.h"

namespace strait::parallel {
namespace {

Communicator& tensor_group(Ctx& ctx) {
  return ctx.groups.axis(core::Axis::tp);
}

}  // namespace

Tensor taller(Ctx& ctx, const ConstTensor& x, std::int64_t ranks) {
  if (x.rank == 1) return ctx.scratch.take(x.dtype, {x.shape[0] * ranks});
  return ctx.scratch.take(x.dtype, {x.shape[0] * ranks, x.shape[1]});
}

ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what) {
  if (tensor_group(ctx).alone()) return x;
  const Tensor whole = taller(ctx, x, tensor_group(ctx).size());
  gather_rows(ctx, x, whole, what);
  return whole;
}

void gather_rows(Ctx& ctx, ConstTensor x, const Tensor& whole, const char* what) {
  if (!ctx.peers.tensor) return tensor_group(ctx).all_gather(x, whole, ctx.stream, what);
  RowExchange(ctx, whole, what).gather(x);
  await_beside(ctx);
}

Tensor terms_of(Ctx& ctx, const Tensor& y) {
  return tensor_group(ctx).alone() ? y : taller(ctx, y, tensor_group(ctx).size());
}

void summed_rows(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  if (tensor_group(ctx).alone()) return;
  const Tensor received = taller(ctx, y, tensor_group(ctx).size());
  if (!ctx.peers.tensor) return tensor_group(ctx).reduce_scatter_sum(terms, y, ctx.stream, what);
  RowExchange(ctx, received, what).sum(terms, y);
  await_beside(ctx);
}

ConstTensor whole_rows_beside(Ctx& ctx, ConstTensor x, const char* what) {
  Communicator& group = tensor_group(ctx);
  if (group.alone()) return x;
  const Tensor whole = taller(ctx, x, group.size());
  if (ctx.peers.tensor) {
    RowExchange(ctx, whole, what).gather(x);
  } else {
    beside(ctx, [&](const Stream& stream) { group.all_gather(x, whole, stream, what); });
  }
  return whole;
}

void summed_rows_beside(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  Communicator& group = tensor_group(ctx);
  if (group.alone()) return;
  const Tensor received = taller(ctx, y, tensor_group(ctx).size());
  if (ctx.peers.tensor) return RowExchange(ctx, received, what).sum(terms, y);
  beside(ctx, [&](const Stream& stream) { group.reduce_scatter_sum(terms, y, stream, what); });
}

RowExchange::RowExchange(Ctx& ctx, const Tensor& target, const char* what)
    : ctx_(ctx),
      group_(tensor_group(ctx)),
      target_(target),
      each_(target.shape[0] / group_.size()) {
  await_beside(ctx_);  // the exchange before
  const auto bytes = static_cast<std::int64_t>(target.bytes());
  group_.count(what, bytes / group_.size() * peers());
  beside(ctx_, [&](const Stream& stream) { ctx_.peers.tensor->allow(target_, stream); });
}

void RowExchange::send(int peer, const ConstTensor& x) {
  beside(ctx_, [&](const Stream& stream) {
    ctx_.peers.tensor->send(peer, x, rows_of(target_, own()), stream);
  });
}

void RowExchange::await(int peer) {
  await_peer(ctx_, *ctx_.peers.tensor, peer);
}

void RowExchange::gather(const ConstTensor& x) {
  beside(ctx_, [&](const Stream& stream) {
    for (int i = 0; i < peers(); ++i)
      ctx_.peers.tensor->send(group_.receiver(i), x, rows_of(target_, own()), stream);
    kernels::copy_on_device(rows_of(target_, own()).data, x.data, x.bytes(), stream);
    for (int i = 0; i < peers(); ++i) ctx_.peers.tensor->await(group_.sender(i), stream);
  });
}

void RowExchange::sum(const Tensor& terms, const Tensor& y) {
  beside(ctx_, [&](const Stream& stream) {
    for (int i = 0; i < peers(); ++i) {
      const int peer = group_.receiver(i);
      ctx_.peers.tensor->send(peer, rows_of(terms, peer), rows_of(target_, own()), stream);
    }
    for (int i = 0; i < peers(); ++i) ctx_.peers.tensor->await(group_.sender(i), stream);
    add_up(rows_of(terms, own()), y, stream);
  });
}

void RowExchange::add_up(const ConstTensor& own_terms, const Tensor& y,
                         const Stream& stream) const {
  const auto term = [&](int rank) -> ConstTensor {
    return rank == own() ? own_terms : rows_of(target_, rank);
  };
  kernels::launch(kernels::Add{.a = term(0), .b = term(1), .y = y}, stream);
  for (int rank = 2; rank < group_.size(); ++rank) {
    kernels::launch(kernels::Add{.a = y, .b = term(rank), .y = y}, stream);
  }
}

}  // namespace strait::parallel
