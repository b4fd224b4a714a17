#include "kernels/cuda/attention_bwd_f32.cuh"
#include "kernels/cuda/attention_dkv.cuh"
#include "kernels/cuda/attention_dq.cuh"
#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/attention_views.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace attention {

/// One row of the table of tile shapes: head dims up to (kKey, kValue).
template <int kKey, int kValue, int kRowTiles, int kKeys, int kKeyWarps, int kQueries>
struct BackwardShape {
  using Query = QueryGradShape<kKey, kValue, kRowTiles, kKeys>;
  using Key = KeyGradShape<kKey, kValue, kKeyWarps, kQueries>;
  static constexpr int kKeyWidth = Query::kKeyWidth, kValueWidth = Query::kValueWidth;
};

}  // namespace attention

namespace {

using namespace attention;

/// Arguments with delta and spans in the stream's workspace.
template <class T>
BackwardArgs<T> arguments(const AttentionBwd& op, const Stream& stream, int span_rows) {
  const std::int64_t tokens = op.q.shape[0];
  const auto heads = static_cast<int>(op.q.shape[1]), groups = static_cast<int>(op.k.shape[1]);
  Layout layout;
  const std::size_t delta = layout.take(static_cast<std::size_t>(heads * tokens) * sizeof(float));
  const std::size_t spans = layout.take(ceil_div(tokens, span_rows) * sizeof(KeySpan));
  void* base = Context::current().workspace(stream, layout.bytes());
  return {.dout = input_heads<T>(op.dout),
          .q = input_heads<T>(op.q),
          .k = input_heads<T>(op.k),
          .v = input_heads<T>(op.v),
          .o = input_heads<T>(op.o),
          .dq = output_heads<T>(op.dq),
          .dk = output_heads<T>(op.dk),
          .dv = output_heads<T>(op.dv),
          .lse = op.lse.as<float>(),
          .delta = at<float>(base, delta),
          .spans = at<KeySpan>(base, spans),
          .intervals = intervals_of(op),
          .heads = heads,
          .heads_per_group = heads / groups,
          .span_rows = span_rows,
          .scale = static_cast<float>(op.scale)};
}

/// Returns the number of query tiles.
template <class T>
int prepare(const BackwardArgs<T>& args, const Call& call) {
  const unsigned tiles = blocks_for(args.intervals.tokens, args.span_rows);
  const Grid grid{.blocks = dim3(tiles, args.heads), .threads = kPrepareThreads};
  launch_kernel(call, grid, prepare_backward<T>, args);
  return static_cast<int>(tiles);
}

void differentiate(const AttentionBwd& op, const Call& call, float) {
  const auto args = arguments<float>(op, call.stream, kPlainGradRows);
  const int tiles = prepare(args, call);
  Grid grid{
      .blocks = dim3(blocks_for(op.q.shape[0], kPlainGradRows), args.heads),
      .threads = kPlainThreads,
      .shared_bytes = static_cast<std::size_t>(plain_backward_bytes(args.q.width, args.v.width))};
  launch_kernel(call, grid, query_grad_plain_kernel, args);
  grid.blocks = dim3(blocks_for(op.k.shape[0], kPlainGradRows), args.heads / args.heads_per_group);
  launch_kernel(call, grid, key_grad_plain_kernel, args, tiles);
}

/// Registers decide all rows but the last, which shared memory does (99 KB on sm_86).
void differentiate(const AttentionBwd& op, const Call& call, bf16) {
  with_shape<BackwardShape<64, 64, 2, 48, 4, 64>, BackwardShape<128, 128, 2, 32, 4, 32>,
             BackwardShape<192, 128, 1, 32, 2, 32>, BackwardShape<256, 256, 1, 16, 2, 32>>(
      static_cast<int>(op.q.shape[2]), static_cast<int>(op.v.shape[2]), [&]<class Shape>(Shape) {
        using Query = typename Shape::Query;
        using Key = typename Shape::Key;
        const auto args = arguments<bf16>(op, call.stream, Key::kQueries);
        const int tiles = prepare(args, call);
        Grid grid{.blocks = blocks_for(op.q.shape[0], Query::kRows) * args.heads,
                  .threads = kThreads,
                  .shared_bytes = Query::kSharedBytes};
        launch_kernel(call, grid, query_grad_kernel<Query>, args);
        grid.blocks = blocks_for(op.k.shape[0], Key::kKeys) * (args.heads / args.heads_per_group);
        grid.shared_bytes = Key::kSharedBytes;
        launch_kernel(call, grid, key_grad_kernel<Key>, args, tiles);
      });
}

}  // namespace

std::string unsupported(const AttentionBwd& op) {
  return unsupported_attention(op);
}

void run(const AttentionBwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.q, op.k, op.v}};
  if (takes_hopper(op)) return differentiate_hopper(op, call);
  with_real(op.q.dtype, op.kName, [&](auto real) { differentiate(op, call, real); });
}

}  // namespace strait::kernels::cuda
