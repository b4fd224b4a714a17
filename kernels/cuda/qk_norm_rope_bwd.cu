#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/head_units.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/turn_heads.h"

namespace strait::kernels::cuda {
namespace {

/// Blocks that share the tokens, and partial sums of dw: four for each multiprocessor of an H100.
constexpr std::int64_t kBlocks = 528;

template <class T>
struct Args {
  const T* dy;
  const T* x;
  T* dx;
  const void* w;
  const float* rstd;
  float* partials;  // [gridDim.x, width] of dw
  const std::int32_t* positions;
  std::int64_t dy_stride, x_stride, dx_stride, dy_head, x_head, dx_head, rstd_stride;
  HeadCut cut;
  bool w_bf16;
};

/// The two packets' share of the gradient through the norm: adds to dw and to the product of the
/// gradient with the input, and scales g by w.
template <int kWidth>
__device__ void weigh(const Floats<kWidth>& w, const Floats<kWidth>& s, float rstd,
                      Floats<kWidth>& g, Floats<kWidth>& dw, float& product) {
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    dw[j] = fmaf(g[j], s[j] * rstd, dw[j]);
    g[j] *= w[j];
    product = fmaf(g[j], s[j], product);
  }
}

/// Gradient through the norm of one head, given the gradient g of its output; adds to dw.
template <class T, int kWidth, int kUnits>
__device__ void norm_gradient(const Args<T>& args, const RopeTable& table, int lane, float rstd,
                              const UnitPackets<T, kWidth> (&x)[kUnits],
                              UnitValues<kWidth> (&g)[kUnits], UnitValues<kWidth> (&dw)[kUnits]) {
  const int width = args.cut.width;
  float product = 0;
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const UnitPlace<kWidth> at(table, lane + u * args.cut.lanes);
    const UnitValues<kWidth> w = load_weights(args.w, args.w_bf16, at, width);
    weigh(w.first, x[u].first.floats(), rstd, g[u].first, dw[u].first, product);
    weigh(w.second, x[u].second.floats(), rstd, g[u].second, dw[u].second, product);
  }
  product = group_reduce(product, args.cut.lanes);
  const float shrink = product * rstd * rstd / static_cast<float>(width);
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      g[u].first[j] = rstd * (g[u].first[j] - x[u].first.get(j) * shrink);
      g[u].second[j] = rstd * (g[u].second[j] - x[u].second.get(j) * shrink);
    }
  }
}

/// Sum of one value over the groups of lanes of a warp.
__device__ double over_groups(double value, int lanes) {
  for (int step = lanes; step < kWarp; step *= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

/// Sums dw over the block's groups of lanes, then over its warps in order.
template <int kWidth, int kUnits>
__device__ void store_sums(const HeadCut& cut, const RopeTable& table,
                           const UnitValues<kWidth> (&dw)[kUnits], float* sums) {
  __shared__ double stage[kHeadWarps][kMaxHeadWidth];
  double* own = stage[threadIdx.x / kWarp];
  const bool first_group = static_cast<int>(threadIdx.x % kWarp) < cut.lanes;
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const UnitPlace<kWidth> at(table, threadIdx.x % cut.lanes + u * cut.lanes);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const double first = over_groups(dw[u].first[j], cut.lanes);
      const double second = over_groups(dw[u].second[j], cut.lanes);
      if (first_group && at.first + j < cut.width) own[at.first + j] = first;
      if (first_group && at.second + j < cut.width) own[at.second + j] = second;
    }
  }
  __syncthreads();
  for (int c = threadIdx.x; c < cut.width; c += kHeadThreads) {
    double sum = 0;
    for (int w = 0; w < kHeadWarps; ++w) sum += stage[w][c];
    sums[c] = static_cast<float>(sum);
  }
}

template <class T, int kWidth>
__global__ __launch_bounds__(kHeadThreads) void qk_norm_rope_bwd(
    const __grid_constant__ Args<T> args, const __grid_constant__ RopeTable table) {
  constexpr int kUnits = kHeadUnits<kWidth>;
  constexpr int kBatch = kUnits == 1 ? 2 : 1;  // heads of a group in flight
  __shared__ WarpAngles<kWidth> warp_angles;
  const HeadCut& cut = args.cut;
  const int lane = threadIdx.x % cut.lanes;
  const int group = threadIdx.x % kWarp / cut.lanes, groups = kWarp / cut.lanes;
  warp_angles.start(table);
  UnitValues<kWidth> dw[kUnits] = {};

  for (std::int64_t token = first_token(); token < cut.tokens; token += token_step()) {
    const std::int32_t position = args.positions[token];
    for (int base = 0; base < cut.heads; base += kBatch * groups) {
      // Load a batch of heads; a group without one reads nothing and takes part in the sums.
      UnitPackets<T, kWidth> dy[kBatch][kUnits], x[kBatch][kUnits];
      float rstd[kBatch] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (base + b * groups >= cut.heads) break;
        const int head = base + b * groups + group;
        const int width = head < cut.heads ? cut.width : 0;
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
          const UnitPlace<kWidth> at(table, lane + u * cut.lanes);
          dy[b][u].load(args.dy + token * args.dy_stride + head * args.dy_head, at, width);
          x[b][u].load(args.x + token * args.x_stride + head * args.x_head, at, width);
        }
        if (width > 0) rstd[b] = args.rstd[token * args.rstd_stride + head];
      }
      if (base == 0) warp_angles.fill(position, table);
        // Turn back, go through the norm, store.
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (base + b * groups >= cut.heads) break;
        const int head = base + b * groups + group;
        UnitValues<kWidth> g[kUnits];
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
          const int unit = lane + u * cut.lanes;
          g[u] = dy[b][u].values();
          if (!UnitPlace<kWidth>(table, unit).turns) continue;
          UnitAngles<kWidth> angles;
          angles.load(warp_angles, table, unit);
          g[u].turn(angles, table.interleaved, -1);
        }
        norm_gradient<T, kWidth>(args, table, lane, rstd[b], x[b], g, dw);
        T* dx = args.dx + token * args.dx_stride + head * args.dx_head;
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
          const UnitPlace<kWidth> at(table, lane + u * cut.lanes);
          UnitPackets<T, kWidth>::store(g[u], dx, at, head < cut.heads ? cut.width : 0);
        }
      }
    }
  }
  store_sums<kWidth>(cut, table, dw,
                     args.partials + blockIdx.x * static_cast<std::int64_t>(cut.width));
}

template <class T>
Args<T> make_args(const QkNormRopeBwd& op) {
  return {.dy = op.dy.as<T>(),
          .x = op.x.as<T>(),
          .dx = op.dx.as<T>(),
          .w = op.w.data,
          .rstd = op.rstd.as<float>(),
          .partials = nullptr,
          .positions = op.positions.as<std::int32_t>(),
          .dy_stride = op.dy.stride[0],
          .x_stride = op.x.stride[0],
          .dx_stride = op.dx.stride[0],
          .dy_head = op.dy.stride[1],
          .x_head = op.x.stride[1],
          .dx_head = op.dx.stride[1],
          .rstd_stride = op.rstd.stride[0],
          .cut = {},
          .w_bf16 = op.w.dtype == DType::bf16};
}

}  // namespace

std::string unsupported(const QkNormRopeBwd& op) {
  return unsupported_heads("dy", op.dy, op.rope);
}

void run(const QkNormRopeBwd& op, const Stream& stream) {
  if (op.dy.numel() == 0) return;
  if (!op.w.defined()) return turn_heads_back(op, stream);
  with_real(op.dy.dtype, QkNormRopeBwd::kName, [&](auto real) {
    using T = decltype(real);
    const RopeTable table = make_rope_table(op.rope);
    Args<T> args = make_args<T>(op);
    const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[2];
    const std::int64_t blocks = std::min(ceil_div(tokens, kHeadWarps), kBlocks);
    args.partials = static_cast<float*>(Context::current().workspace(
        stream, static_cast<std::size_t>(blocks * width) * sizeof(float)));
    const bool in_packets =
        all_aligned(op.dy, op.x, op.dx, op.w) && heads_in_packets(op.rope, width, kPacket<T>);
    with_packets<T>(in_packets, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      args.cut = make_head_cut(op.dy, table.pairs, kWidth);
      launch_kernel({QkNormRopeBwd::kName, stream, {op.dy}},
                    {static_cast<unsigned>(blocks), kHeadThreads}, qk_norm_rope_bwd<T, kWidth>,
                    args, table);
    });
    add_column_sums(QkNormRopeBwd::kName, args.partials, blocks, op.dw, stream);
  });
}

}  // namespace strait::kernels::cuda
