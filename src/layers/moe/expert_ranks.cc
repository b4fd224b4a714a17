#include "layers/moe/expert_ranks.h"

namespace strait::layers {

using Block = parallel::ExpertExchange::Block;

void ExpertRanks::agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows) {
  const std::int64_t ranks = ctx.groups.axis(core::Axis::ep).size();
  const std::int64_t experts = (offsets.shape[0] - 1) / ranks;
  exchange_.agree(ctx, offsets, rows, ctx.saved.take(DType::i32, {ranks, experts + 1}));
}

Tensor ExpertRanks::from_all(Ctx& ctx, const Tensor& like, std::int64_t width) const {
  return ctx.scratch.take(like.dtype, {exchange_.capacity(), width});
}

void ExpertRanks::forward(Ctx& ctx, const Tensor& rows, const Tensor& out) {
  experts_.keep(ctx, rows.dtype, exchange_.capacity());
  const Tensor received = from_all(ctx, rows, rows.shape[1]);
  const Tensor results = from_all(ctx, rows, rows.shape[1]);
  exchange_.dispatch(ctx, rows, received, "ep rows");
  exchange_.begin_collect(ctx, out, "ep results");
  for (int i = 0; i < exchange_.ranks(); ++i) {
    const Block block = exchange_.block(i);
    exchange_.await(ctx, block);
    experts_.run(ctx, exchange_.rows_of(block, rows, received), {block.offsets, block.first},
                 {.y = exchange_.rows_of(block, out, results)});
    exchange_.collect(ctx, i, results, out, "ep results");
  }
  exchange_.end_collect(ctx);
}

Tensor ExpertRanks::send_again(Ctx& ctx, const Tensor& rows) const {
  const Tensor received = from_all(ctx, rows, rows.shape[1]);
  exchange_.dispatch_ahead(ctx, rows, received, "ep rows");
  return received;
}

void ExpertRanks::backward(Ctx& ctx, const Tensor& rows, const Tensor& received, const Tensor& dout,
                           const Tensor& drows) {
  const Tensor dreceived = from_all(ctx, dout, dout.shape[1]);
  const Tensor dresults = from_all(ctx, dout, dout.shape[1]);
  const Tensor dgate_up = from_all(ctx, dout, 2 * experts_.width());
  exchange_.dispatch(ctx, dout, dreceived, "ep gradients");
  exchange_.begin_collect(ctx, drows, "ep row gradients");
  const auto dy_of = [&](const Block& block) { return exchange_.rows_of(block, dout, dreceived); };
  const auto weights = [&](const Block& block) {
    exchange_.await_ahead(ctx, block);
    experts_.backward_weights(ctx, exchange_.rows_of(block, rows, received), dy_of(block),
                              dgate_up.slice(0, block.first, block.rows),
                              {block.offsets, block.first});
  };
  for (int i = 0; i < exchange_.ranks(); ++i) {
    const Block block = exchange_.block(i);
    exchange_.await(ctx, block);
    experts_.backward_rows(ctx, dy_of(block), {block.offsets, block.first},
                           dgate_up.slice(0, block.first, block.rows),
                           exchange_.rows_of(block, drows, dresults));
    exchange_.collect(ctx, i, dresults, drows, "ep row gradients");
    if (i == 0) weights(block);  // while the rows of others are on their way
  }
  for (int i = 1; i < exchange_.ranks(); ++i) weights(exchange_.block(i));
  exchange_.end_collect(ctx);
}

}  // namespace strait::layers
