#include <algorithm>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

// Gradient rows are summed id by id in token order, so no two threads meet at an element of dw.
// Tokens are first gathered by id: integer atomics count and place them, in an order that varies
// but is undone before anything is summed. Ids with few tokens are sorted by one warp; the tokens
// of frequent ids are found again by scanning all ids in order.
namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kFew = kWarp;  // tokens of an id that one warp sorts
constexpr int kWarps = kThreads / kWarp;
constexpr int kScanned = 8;  // consecutive ids that a thread looks at per round
constexpr int kListed = kScanned * kThreads;

/// Tables in the workspace. Zeroed at the start: count and totals.
struct Gathered {
  std::int32_t* count;   // [v] tokens of each id
  std::int32_t* totals;  // [3]: tokens placed, rare ids, frequent ids
  std::int32_t* begin;   // [v] first place of each id that occurs
  std::int32_t* slot;    // [T] place of a token among those of its id
  std::int32_t* tokens;  // [T] tokens, those of one id side by side
  std::int32_t* rare;    // [T] ids with at most kFew tokens
  std::int32_t* often;   // [T / kFew] the others
};

struct Ids {
  const std::int32_t* data;
  std::int64_t tokens, vocab_begin, vocab;

  /// Row of dw for token t, or -1.
  __device__ std::int64_t row(std::int64_t t) const {
    const std::int64_t id = data[t] - vocab_begin;
    return id >= 0 && id < vocab ? id : -1;
  }
};

template <class T>
struct Gradient {
  const T* dy;
  void* dw;
  std::int64_t dy_stride, dw_stride;
  int width;
  bool dw_bf16;
};

__device__ std::int64_t thread_index() {
  return blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
}

__global__ __launch_bounds__(kThreads) void count_tokens(Ids ids, Gathered g) {
  const std::int64_t t = thread_index();
  const std::int64_t id = t < ids.tokens ? ids.row(t) : -1;
  if (id >= 0) g.slot[t] = atomicAdd(g.count + id, 1);
}

/// Adds `value` to *total for every lane, in one atomic per warp; returns the lane's share's start.
__device__ std::int32_t claim(std::int32_t* total, int value) {
  const int lane = threadIdx.x % kWarp;
  int through = value;
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const int before = __shfl_up_sync(kAllLanes, through, step);
    if (lane >= step) through += before;
  }
  std::int32_t start = 0;
  if (lane == kWarp - 1 && through > 0) start = atomicAdd(total, through);
  return __shfl_sync(kAllLanes, start, kWarp - 1) + through - value;
}

__global__ __launch_bounds__(kThreads) void make_segments(Ids ids, Gathered g) {
  const std::int64_t id = thread_index();
  const std::int32_t count = id < ids.vocab ? g.count[id] : 0;
  const bool rare = count > 0 && count <= kFew;
  const std::int32_t begin = claim(g.totals, rare ? count : 0);
  const std::int32_t place = claim(g.totals + 1, rare ? 1 : 0);
  if (rare) {
    g.begin[id] = begin;
    g.rare[place] = static_cast<std::int32_t>(id);
  } else if (count > 0) {
    g.often[atomicAdd(g.totals + 2, 1)] = static_cast<std::int32_t>(id);
  }
}

__global__ __launch_bounds__(kThreads) void place_tokens(Ids ids, Gathered g) {
  const std::int64_t t = thread_index();
  const std::int64_t id = t < ids.tokens ? ids.row(t) : -1;
  if (id < 0 || g.count[id] > kFew) return;
  g.tokens[g.begin[id] + g.slot[t]] = static_cast<std::int32_t>(t);
}

/// dw[id, c] += the rows of dy at tokens[first], tokens[first + step], ... before `count`.
template <int kWidth, class T>
__device__ void sum_rows(const Gradient<T>& d, const std::int32_t* tokens, int first, int step,
                         int count, std::int64_t c, Floats<kWidth>& sum) {
#pragma unroll 8
  for (int i = first; i < count; i += step) {
    const auto row = Packet<T, kWidth>::load(d.dy + tokens[i] * d.dy_stride + c, d.width - c);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum[j] += row.get(j);
  }
}

/// The tokens of an id with few of them, all columns; by a block.
template <class T, int kWidth>
__device__ void add_rare(const Gathered& g, const Gradient<T>& d, std::int64_t id) {
  __shared__ std::int32_t sorted[kFew];
  const int count = g.count[id];
  if (threadIdx.x < kWarp) {
    const int lane = threadIdx.x;
    const std::int32_t token = lane < count ? g.tokens[g.begin[id] + lane] : INT32_MAX;
    int rank = 0;
    for (int other = 0; other < count; ++other) {
      rank += __shfl_sync(kAllLanes, token, other) < token;
    }
    if (lane < count) sorted[rank] = token;
  }
  __syncthreads();
  for (std::int64_t c = threadIdx.x * kWidth; c < d.width; c += kThreads * kWidth) {
    const std::int64_t at = id * d.dw_stride + c;
    Floats<kWidth> sum = load_wide<kWidth>(d.dw, d.dw_bf16, at, d.width - c);
    sum_rows<kWidth>(d, sorted, 0, 1, count, c, sum);
    store_wide<kWidth>(d.dw, d.dw_bf16, at, sum, d.width - c);
  }
}

/// Lists those of the next kListed tokens that are `id`, in order. Returns how many; every thread
/// receives the same.
__device__ int list_tokens(const Ids& ids, std::int64_t id, std::int64_t next, std::int32_t* list) {
  __shared__ int found[kWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const std::int64_t first = next + threadIdx.x * kScanned;
  unsigned mine = 0;
#pragma unroll
  for (int i = 0; i < kScanned; ++i) {
    if (first + i < ids.tokens && ids.row(first + i) == id) mine |= 1u << i;
  }
  int through = __popc(mine);  // found by this lane and those before it
#pragma unroll
  for (int step = 1; step < kWarp; step *= 2) {
    const int before = __shfl_up_sync(kAllLanes, through, step);
    if (lane >= step) through += before;
  }
  if (lane == kWarp - 1) found[warp] = through;
  __syncthreads();
  int place = through - __popc(mine), listed = 0;
  for (int w = 0; w < kWarps; ++w) {
    place += w < warp ? found[w] : 0;
    listed += found[w];
  }
#pragma unroll
  for (int i = 0; i < kScanned; ++i) {
    if ((mine >> i & 1u) != 0) list[place++] = static_cast<std::int32_t>(first + i);
  }
  __syncthreads();
  return listed;
}

/// The tokens of a frequent id, 32 packets of columns from packet `begin` on; by a block. Warp w
/// sums the tokens w, w + 8, ... of the id in order; the warps' sums are added in warp order.
template <class T, int kWidth>
__device__ void add_often(const Ids& ids, const Gradient<T>& d, std::int64_t id,
                          std::int64_t begin) {
  __shared__ std::int32_t list[kListed];
  __shared__ float sums[kWarps][kWarp * kWidth];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const std::int64_t c = (begin + lane) * kWidth;
  Floats<kWidth> sum = {};
  for (std::int64_t next = 0; next < ids.tokens; next += kListed) {
    const int listed = list_tokens(ids, id, next, list);
    if (c < d.width) sum_rows<kWidth>(d, list, warp, kWarps, listed, c, sum);
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < kWidth; ++j) sums[warp][j * kWarp + lane] = sum[j];
  __syncthreads();
  if (warp != 0 || c >= d.width) return;
  const std::int64_t at = id * d.dw_stride + c;
  Floats<kWidth> total = load_wide<kWidth>(d.dw, d.dw_bf16, at, d.width - c);
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    float added = 0;
    for (int w = 0; w < kWarps; ++w) added += sums[w][j * kWarp + lane];
    total[j] += added;
  }
  store_wide<kWidth>(d.dw, d.dw_bf16, at, total, d.width - c);
}

/// The first blocks, `pieces` for each frequent id there may be, take the long sums; the others an
/// id with few tokens each.
template <class T, int kWidth>
__global__ __launch_bounds__(kThreads) void add_rows(Ids ids, Gathered g, Gradient<T> d,
                                                     unsigned often, unsigned pieces) {
  const unsigned block = blockIdx.x;
  if (block < often * pieces) {
    const unsigned which = block / pieces;
    if (static_cast<std::int32_t>(which) >= g.totals[2]) return;
    add_often<T, kWidth>(ids, d, g.often[which],
                         (block - which * pieces) * static_cast<std::int64_t>(kWarp));
    return;
  }
  const unsigned which = block - often * pieces;
  if (static_cast<std::int32_t>(which) < g.totals[1]) add_rare<T, kWidth>(g, d, g.rare[which]);
}

Gathered lay_out(const Ids& ids, const Stream& stream) {
  Layout layout;
  const auto take = [&](std::int64_t n) {
    return layout.take(static_cast<std::size_t>(n) * sizeof(std::int32_t));
  };
  const std::size_t count = take(ids.vocab), totals = take(3), zeroed = layout.bytes();
  const std::size_t begin = take(ids.vocab), slot = take(ids.tokens), tokens = take(ids.tokens),
                    rare = take(ids.tokens), often = take(ids.tokens / kFew + 1);
  void* base = Context::current().workspace(stream, layout.bytes());
  check_cuda(cudaMemsetAsync(base, 0, zeroed, handle_of(stream)), "EmbeddingBwd: cudaMemsetAsync");
  using I = std::int32_t;
  return {at<I>(base, count),  at<I>(base, totals), at<I>(base, begin), at<I>(base, slot),
          at<I>(base, tokens), at<I>(base, rare),   at<I>(base, often)};
}

}  // namespace

std::string unsupported(const EmbeddingBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const EmbeddingBwd& op, const Stream& stream) {
  const Ids ids{op.ids.as<std::int32_t>(), op.ids.shape[0], op.vocab_begin, op.dw.shape[0]};
  const std::int64_t width = op.dy.shape[1];
  if (ids.tokens == 0 || ids.vocab == 0 || width == 0) return;
  const Gathered gathered = lay_out(ids, stream);
  const Call call{EmbeddingBwd::kName, stream, {op.dy, op.dw}};
  const Grid by_token{blocks_for(ids.tokens, kThreads), kThreads};
  launch_kernel(call, by_token, count_tokens, ids, gathered);
  launch_kernel(call, {blocks_for(ids.vocab, kThreads), kThreads}, make_segments, ids, gathered);
  launch_kernel(call, by_token, place_tokens, ids, gathered);
  with_real(op.dy.dtype, EmbeddingBwd::kName, [&](auto real) {
    using T = decltype(real);
    const Gradient<T> gradient{op.dy.as<T>(),           op.dw.data,
                               op.dy.stride[0],         op.dw.stride[0],
                               static_cast<int>(width), op.dw.dtype == DType::bf16};
    with_packets<T>(all_aligned(op.dy, op.dw), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const auto rare = static_cast<unsigned>(std::min(ids.tokens, ids.vocab));
      const auto often = static_cast<unsigned>(ids.tokens / (kFew + 1));
      const unsigned pieces = blocks_for(width, kWarp * kWidth);
      launch_kernel(call, {often * pieces + rare, kThreads}, add_rows<T, kWidth>, ids, gathered,
                    gradient, often, pieces);
    });
  });
}

}  // namespace strait::kernels::cuda
