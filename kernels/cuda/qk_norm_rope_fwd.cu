#include "kernels/cuda/head_units.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/turn_heads.h"

namespace strait::kernels::cuda {
namespace {

template <class T>
struct Args {
  const T* x;
  T* y;
  const void* w;  // or null: no norm
  float* rstd;
  const std::int32_t* positions;
  std::int64_t x_stride, y_stride, x_head, y_head, rstd_stride;
  HeadCut cut;
  bool w_bf16;
  float eps, sign;
};

/// Normalises a head, given what this lane holds of it; gives its rstd to every lane.
template <class T, int kWidth, int kUnits>
__device__ float norm_head(const Args<T>& args, const RopeTable& table, int lane,
                           UnitValues<kWidth> (&v)[kUnits]) {
  float squares = 0;
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      squares = fmaf(v[u].first[j], v[u].first[j], squares);
      squares = fmaf(v[u].second[j], v[u].second[j], squares);
    }
  }
  squares = group_reduce(squares, args.cut.lanes);
  const float mean = __fdiv_rn(squares, static_cast<float>(args.cut.width));
  const float rstd = __frsqrt_rn(mean + args.eps);
#pragma unroll
  for (int u = 0; u < kUnits; ++u) {
    const UnitPlace<kWidth> at(table, lane + u * args.cut.lanes);
    const UnitValues<kWidth> w = load_weights(args.w, args.w_bf16, at, args.cut.width);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      v[u].first[j] *= rstd * w.first[j];
      v[u].second[j] *= rstd * w.second[j];
    }
  }
  return rstd;
}

template <class T, int kWidth>
__global__ __launch_bounds__(kHeadThreads) void qk_norm_rope_fwd(
    const __grid_constant__ Args<T> args, const __grid_constant__ RopeTable table) {
  constexpr int kUnits = kHeadUnits<kWidth>;
  constexpr int kBatch = kUnits == 1 ? 4 : 1;  // heads of a group in flight
  __shared__ WarpAngles<kWidth> warp_angles;
  const HeadCut& cut = args.cut;
  const int lane = threadIdx.x % cut.lanes;
  const int group = threadIdx.x % kWarp / cut.lanes, groups = kWarp / cut.lanes;
  warp_angles.start(table);

  for (std::int64_t token = first_token(); token < cut.tokens; token += token_step()) {
    const std::int32_t position = args.positions[token];
    for (int base = 0; base < cut.heads; base += kBatch * groups) {
      // Load a batch of heads; a group without one reads nothing and takes part in the sums.
      UnitPackets<T, kWidth> raw[kBatch][kUnits];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (base + b * groups >= cut.heads) break;
        const int head = base + b * groups + group;
        const T* x = args.x + token * args.x_stride + head * args.x_head;
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
          raw[b][u].load(x, {table, lane + u * cut.lanes}, head < cut.heads ? cut.width : 0);
        }
      }
      if (base == 0) warp_angles.fill(position, table);
        // Normalise, turn, store.
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (base + b * groups >= cut.heads) break;
        const int head = base + b * groups + group;
        const bool active = head < cut.heads;
        UnitValues<kWidth> v[kUnits];
#pragma unroll
        for (int u = 0; u < kUnits; ++u) v[u] = raw[b][u].values();
        if (args.w) {
          const float rstd = norm_head<T, kWidth>(args, table, lane, v);
          if (active && lane == 0) args.rstd[token * args.rstd_stride + head] = rstd;
        }
        T* y = args.y + token * args.y_stride + head * args.y_head;
#pragma unroll
        for (int u = 0; u < kUnits; ++u) {
          const int unit = lane + u * cut.lanes;
          const UnitPlace<kWidth> at(table, unit);
          if (at.turns) {
            UnitAngles<kWidth> angles;
            angles.load(warp_angles, table, unit);
            v[u].turn(angles, table.interleaved, args.sign);
          }
          UnitPackets<T, kWidth>::store(v[u], y, at, active ? cut.width : 0);
        }
      }
    }
  }
}

template <class T>
Args<T> make_args(const QkNormRopeFwd& op, float sign) {
  return {.x = op.x.as<T>(),
          .y = op.y.as<T>(),
          .w = op.w.data,
          .rstd = op.rstd.as<float>(),
          .positions = op.positions.as<std::int32_t>(),
          .x_stride = op.x.stride[0],
          .y_stride = op.y.stride[0],
          .x_head = op.x.stride[1],
          .y_head = op.y.stride[1],
          .rstd_stride = op.rstd.stride[0],
          .cut = {},
          .w_bf16 = op.w.dtype == DType::bf16,
          .eps = static_cast<float>(op.eps),
          .sign = sign};
}

void enqueue(const char* name, const QkNormRopeFwd& op, float sign, const Stream& stream) {
  if (op.x.numel() == 0) return;
  with_real(op.x.dtype, name, [&](auto real) {
    using T = decltype(real);
    const RopeTable table = make_rope_table(op.rope);
    Args<T> args = make_args<T>(op, sign);
    const bool in_packets =
        all_aligned(op.x, op.y, op.w) && heads_in_packets(op.rope, op.x.shape[2], kPacket<T>);
    with_packets<T>(in_packets, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      args.cut = make_head_cut(op.x, table.pairs, kWidth);
      launch_kernel({name, stream, {op.x}}, {blocks_for(args.cut.tokens, kHeadWarps), kHeadThreads},
                    qk_norm_rope_fwd<T, kWidth>, args, table);
    });
  });
}

}  // namespace

std::string unsupported(const QkNormRopeFwd& op) {
  return unsupported_heads("x", op.x, op.rope);
}

void run(const QkNormRopeFwd& op, const Stream& stream) {
  enqueue(QkNormRopeFwd::kName, op, 1, stream);
}

void turn_heads_back(const QkNormRopeBwd& op, const Stream& stream) {
  enqueue(QkNormRopeBwd::kName,
          {.x = op.dy, .positions = op.positions, .y = op.dx, .rope = op.rope}, -1, stream);
}

}  // namespace strait::kernels::cuda
