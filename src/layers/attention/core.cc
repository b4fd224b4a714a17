#include "layers/attention/core.h"

#include <cmath>

#include "kernels/attention.h"

namespace strait::layers {

AttentionCore::AttentionCore(const CoreDims& dims)
    : dims_(dims), scale_(1.0 / std::sqrt(static_cast<double>(dims.key_dim))) {}

const parallel::Spans& AttentionCore::spans(const Ctx& ctx) const {
  return dims_.slides ? ctx.tokens->sliding : ctx.tokens->spans;
}

void AttentionCore::forward(Ctx& ctx, ConstTensor q, ConstTensor k, ConstTensor v, Tensor o) {
  const DType stat = kernels::stat_dtype(q.dtype);
  saved_ = {q, k, v, o, ctx.saved.take(stat, {dims_.heads, q.shape[0]})};
  kernels::launch(kernels::AttentionFwd{.q = q,
                                        .k = k,
                                        .v = v,
                                        .k_begin = spans(ctx).k_begin,
                                        .k_end = spans(ctx).k_end,
                                        .o = o,
                                        .lse = saved_.lse,
                                        .scale = scale_},
                  ctx.stream);
}

void AttentionCore::backward(Ctx& ctx, ConstTensor dout, Tensor dq, Tensor dk, Tensor dv) {
  kernels::launch(kernels::AttentionBwd{.dout = dout,
                                        .q = saved_.q,
                                        .k = saved_.k,
                                        .v = saved_.v,
                                        .o = saved_.o,
                                        .lse = saved_.lse,
                                        .k_begin = spans(ctx).k_begin,
                                        .k_end = spans(ctx).k_end,
                                        .dq = dq,
                                        .dk = dk,
                                        .dv = dv,
                                        .scale = scale_},
                  ctx.stream);
}

}  // namespace strait::layers
