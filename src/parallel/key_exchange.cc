#include "parallel/key_exchange.h"

#include <array>

#include "kernels/elementwise.h"
#include "kernels/permute.h"

namespace strait::parallel {

using kernels::launch;

Tensor key_rows(Ctx& ctx, ConstTensor k, ConstTensor v) {
  const std::int64_t key_width = k.shape[2], value_width = v.shape[2], groups = k.shape[1];
  const Tensor rows = ctx.scratch.take(k.dtype, {k.shape[0], groups * (key_width + value_width)});
  const KeysValues views = keys_of(rows, groups, key_width, value_width);
  launch(kernels::Copy{.x = k, .y = views.k}, ctx.stream);
  launch(kernels::Copy{.x = v, .y = views.v}, ctx.stream);
  return rows;
}

KeysValues keys_of(const Tensor& rows, std::int64_t groups, std::int64_t key_width,
                   std::int64_t value_width) {
  const std::int64_t keys = groups * key_width;
  return {rows.slice(1, 0, keys).split_last(groups, key_width),
          rows.slice(1, keys, groups * value_width).split_last(groups, value_width)};
}

Tensor gather_keys(Ctx& ctx, const Tensor& rows) {
  Communicator& group = ctx.groups.axis(core::Axis::cp);
  const std::int64_t all = rows.shape[0] * group.size();
  const Tensor ordered = ctx.scratch.take(rows.dtype, {all, rows.shape[1]});
  const core::Frame frame(ctx.scratch);
  const Tensor by_rank = ctx.scratch.take(rows.dtype, {all, rows.shape[1]});
  group.all_gather(rows, by_rank, ctx.stream, "cp keys");
  launch(kernels::MoePermute{.x = by_rank, .choice_of = ctx.tokens->key_order, .y = ordered},
         ctx.stream);
  return ordered;
}

void scatter_key_gradients(Ctx& ctx, const Tensor& dgathered, const Tensor& drows) {
  const core::Frame frame(ctx.scratch);
  const Tensor by_rank =
      ctx.scratch.take(dgathered.dtype, {dgathered.shape[0], dgathered.shape[1]});
  launch(kernels::MoePermute{.x = dgathered, .choice_of = ctx.tokens->rank_order, .y = by_rank},
         ctx.stream);
  ctx.groups.axis(core::Axis::cp)
      .reduce_scatter_sum(by_rank, drows, ctx.stream, "cp key gradients");
}

void pass_on(Ctx& ctx, const Tensor& mine, const Tensor& next, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::cp);
  const int ranks = group.size();
  const std::array sends = {Message{(group.rank() + 1) % ranks, mine}};
  const std::array receives = {Message{(group.rank() + ranks - 1) % ranks, next}};
  group.exchange(sends, receives, ctx.stream, what);
}

double exchange_bytes(bool ring, std::int64_t cp, std::int64_t rows, std::int64_t width,
                      std::size_t element, std::size_t sum_element) {
  const auto ranks = static_cast<double>(cp), keys = static_cast<double>(element),
             sums = static_cast<double>(sum_element);
  const double per_row = ring ? 2 * (ranks - 1) * keys + ranks * sums : 3 * (ranks - 1) * keys;
  return per_row * static_cast<double>(rows) * static_cast<double>(width);
}

}  // namespace strait::parallel
