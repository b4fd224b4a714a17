#include "kernels/mla.h"

#include "kernels/cuda/head_units.cuh"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace {

/// A [T, heads, width] view; for [T, width] the head stride is 0.
template <class T>
struct View {
  T* data;
  std::int64_t token, head;

  __device__ T* at(std::int64_t t, int h) const { return data + t * token + h * head; }
};

template <class T>
View<const T> view(const ConstTensor& x) {
  return {x.as<T>(), x.stride[0], x.rank == 3 ? x.stride[1] : 0};
}

template <class T>
View<T> view(const Tensor& x) {
  return {x.as<T>(), x.stride[0], x.rank == 3 ? x.stride[1] : 0};
}

/// How a warp shares the pieces of each head: the least power of two lanes that covers them.
struct LaneCut {
  int lanes, lane, group, groups;

  __device__ explicit LaneCut(int pieces) {
    lanes = pieces > kWarp / 2 ? kWarp : pieces <= 1 ? 1 : 1 << (32 - __clz(pieces - 1));
    lane = threadIdx.x % lanes;
    group = threadIdx.x % kWarp / lanes;
    groups = kWarp / lanes;
  }
};

/// Calls load(b, h, piece), then store(b, h, piece) for the pieces of all heads in batches, so that
/// several loads are in flight; b is the place in the batch. By a warp.
template <int kBatch, class Load, class Store>
__device__ __forceinline__ void in_batches(int heads, int pieces, Load&& load, Store&& store) {
  const LaneCut cut(pieces);
  for (int piece = cut.lane; piece < pieces; piece += cut.lanes) {
    for (int h = cut.group; h < heads; h += kBatch * cut.groups) {
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (h + b * cut.groups < heads) load(b, h + b * cut.groups, piece);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (h + b * cut.groups < heads) store(b, h + b * cut.groups, piece);
      }
    }
  }
}

/// Copies the first `width` channels of every head of token t; by a warp.
template <int kWidth, class T>
__device__ void copy_heads(const View<const T>& from, const View<T>& to, int to_channel,
                           std::int64_t t, int heads, int width) {
  constexpr int kBatch = 4;
  Packet<T, kWidth> kept[kBatch];
  in_batches<kBatch>(
      heads, width / kWidth,
      [&](int b, int h, int piece) {
        kept[b] = Packet<T, kWidth>::load(from.at(t, h) + piece * kWidth);
      },
      [&](int b, int h, int piece) { kept[b].store(to.at(t, h) + to_channel + piece * kWidth); });
}

/// Turns the rope channels, those from `nope` on, of every head of token t; by a warp.
template <int kWidth, class T>
__device__ void turn_heads(const View<const T>& from, const View<T>& to, int nope, std::int64_t t,
                           int heads, const RopeTable& table, const WarpAngles<kWidth>& warp_angles,
                           float sign) {
  constexpr int kBatch = 2;
  const int width = 2 * table.pairs;
  UnitPackets<T, kWidth> kept[kBatch];
  in_batches<kBatch>(
      heads, table.pairs / kWidth,
      [&](int b, int h, int unit) {
        kept[b].load(from.at(t, h) + nope, {table, unit}, width);
      },
      [&](int b, int h, int unit) {
        UnitAngles<kWidth> angles;
        angles.load(warp_angles, table, unit);
        UnitValues<kWidth> values = kept[b].values();
        values.turn(angles, table.interleaved, sign);
        UnitPackets<T, kWidth>::store(values, to.at(t, h) + nope, {table, unit}, width);
      });
}

template <class T>
struct ForwardArgs {
  View<const T> q_up, kv_up, k_rope;
  View<T> q, k;
  const std::int32_t* positions;
  std::int64_t tokens;
  int heads, nope;
};

/// The rotated shared key into the heads of k; by a warp.
template <int kWidth, class T>
__device__ void spread_key(const ForwardArgs<T>& args, std::int64_t t, const RopeTable& table,
                           const WarpAngles<kWidth>& warp_angles) {
  const int units = table.pairs / kWidth, width = 2 * table.pairs;
  const LaneCut cut(units);
  for (int unit = cut.lane; unit < units; unit += cut.lanes) {
    const UnitPlace<kWidth> at(table, unit);
    UnitPackets<T, kWidth> key;
    key.load(args.k_rope.at(t, 0), at, width);
    UnitAngles<kWidth> angles;
    angles.load(warp_angles, table, unit);
    UnitValues<kWidth> values = key.values();
    values.turn(angles, table.interleaved, 1);
    for (int h = cut.group; h < args.heads; h += cut.groups) {
      UnitPackets<T, kWidth>::store(values, args.k.at(t, h) + args.nope, at, width);
    }
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kHeadThreads)
    assemble(const __grid_constant__ ForwardArgs<T> args, const __grid_constant__ RopeTable table) {
  __shared__ WarpAngles<kWidth> angles;
  angles.start(table);
  const bool in_place = args.q.data == args.q_up.data;
  for (std::int64_t t = first_token(); t < args.tokens; t += token_step()) {
    const std::int32_t position = args.positions[t];
    copy_heads<kWidth>(args.kv_up, args.k, 0, t, args.heads, args.nope);
    if (!in_place) copy_heads<kWidth>(args.q_up, args.q, 0, t, args.heads, args.nope);
    angles.fill(position, table);
    turn_heads<kWidth>(args.q_up, args.q, args.nope, t, args.heads, table, angles, 1);
    spread_key<kWidth>(args, t, table, angles);
  }
}

template <class T>
struct BackwardArgs {
  View<const T> dq, dk, dv;
  View<T> dq_up, dkv_up, dk_rope;
  const std::int32_t* positions;
  std::int64_t tokens;
  int heads, nope, value;
};

/// The shared key's gradient: summed over the heads, each group of lanes taking every so many, then
/// over the groups. The rotation is linear: turned back once, after the sum. By a warp.
template <int kWidth, class T>
__device__ void gather_key(const BackwardArgs<T>& args, std::int64_t t, const RopeTable& table,
                           const WarpAngles<kWidth>& warp_angles) {
  const int units = table.pairs / kWidth, width = 2 * table.pairs;
  const LaneCut cut(units);
  for (int base = 0; base < units; base += cut.lanes) {
    const int unit = base + cut.lane, present = unit < units ? width : 0;
    const UnitPlace<kWidth> at(table, unit);
    UnitValues<kWidth> sum = {};
#pragma unroll 2
    for (int h = cut.group; h < args.heads; h += cut.groups) {
      UnitPackets<T, kWidth> more;
      more.load(args.dk.at(t, h) + args.nope, at, present);
#pragma unroll
      for (int c = 0; c < kWidth; ++c) {
        sum.first[c] += more.first.get(c);
        sum.second[c] += more.second.get(c);
      }
    }
#pragma unroll
    for (int c = 0; c < kWidth; ++c) {
      for (int step = cut.lanes; step < kWarp; step *= 2) {
        sum.first[c] += __shfl_xor_sync(kAllLanes, sum.first[c], step);
        sum.second[c] += __shfl_xor_sync(kAllLanes, sum.second[c], step);
      }
    }
    if (cut.group != 0 || present == 0) continue;
    UnitAngles<kWidth> angles;
    angles.load(warp_angles, table, unit);
    sum.turn(angles, table.interleaved, -1);
    UnitPackets<T, kWidth>::store(sum, args.dk_rope.at(t, 0), at, width);
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kHeadThreads)
    disassemble(const __grid_constant__ BackwardArgs<T> args,
                const __grid_constant__ RopeTable table) {
  __shared__ WarpAngles<kWidth> angles;
  angles.start(table);
  const bool in_place = args.dq.data == args.dq_up.data;
  for (std::int64_t t = first_token(); t < args.tokens; t += token_step()) {
    const std::int32_t position = args.positions[t];
    copy_heads<kWidth>(args.dk, args.dkv_up, 0, t, args.heads, args.nope);
    copy_heads<kWidth>(args.dv, args.dkv_up, args.nope, t, args.heads, args.value);
    if (!in_place) copy_heads<kWidth>(args.dq, args.dq_up, 0, t, args.heads, args.nope);
    angles.fill(position, table);
    turn_heads<kWidth>(args.dq, args.dq_up, args.nope, t, args.heads, table, angles, -1);
    gather_key<kWidth>(args, t, table, angles);
  }
}

/// Calls body(integral constant of elements per access): 16 bytes where every piece is a multiple.
template <class T, class Body>
void with_width(bool aligned, std::int64_t nope, std::int64_t value, std::int64_t pairs,
                Body&& body) {
  constexpr int kWidth = kPacket<T>;
  if (aligned && nope % kWidth == 0 && value % kWidth == 0 && pairs % kWidth == 0) {
    return body(std::integral_constant<int, kWidth>{});
  }
  body(std::integral_constant<int, 1>{});
}

template <class Op>
std::string unsupported_mla(const char* field, const Op& op, const ConstTensor& x) {
  std::string reason = unsupported_compute(field, x);
  if (reason.empty()) reason = unsupported_rope(op.rope);
  return reason;
}

}  // namespace

std::string unsupported(const MlaAssembleFwd& op) {
  return unsupported_mla("q_up", op, op.q_up);
}

std::string unsupported(const MlaAssembleBwd& op) {
  return unsupported_mla("dq", op, op.dq);
}

void run(const MlaAssembleFwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.q_up, op.kv_up, op.k_rope}};
  with_real(op.q_up.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t nope = op.q_up.shape[2] - op.rope.dims;
    const ForwardArgs<T> args{.q_up = view<T>(op.q_up),
                              .kv_up = view<T>(op.kv_up),
                              .k_rope = view<T>(op.k_rope),
                              .q = view<T>(op.q),
                              .k = view<T>(op.k),
                              .positions = op.positions.as<std::int32_t>(),
                              .tokens = op.q_up.shape[0],
                              .heads = static_cast<int>(op.q_up.shape[1]),
                              .nope = static_cast<int>(nope)};
    const bool aligned = all_aligned(op.q_up, op.kv_up, op.k_rope, op.q, op.k);
    with_width<T>(aligned, nope, 0, op.rope.dims / 2, [&](auto width) {
      launch_kernel(call, head_grid(args.tokens), assemble<T, width()>, args,
                    make_rope_table(op.rope));
    });
  });
}

void run(const MlaAssembleBwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.dq, op.dk, op.dv}};
  with_real(op.dq.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t nope = op.dq.shape[2] - op.rope.dims, value = op.dv.shape[2];
    const BackwardArgs<T> args{.dq = view<T>(op.dq),
                               .dk = view<T>(op.dk),
                               .dv = view<T>(op.dv),
                               .dq_up = view<T>(op.dq_up),
                               .dkv_up = view<T>(op.dkv_up),
                               .dk_rope = view<T>(op.dk_rope),
                               .positions = op.positions.as<std::int32_t>(),
                               .tokens = op.dq.shape[0],
                               .heads = static_cast<int>(op.dq.shape[1]),
                               .nope = static_cast<int>(nope),
                               .value = static_cast<int>(value)};
    const bool aligned = all_aligned(op.dq, op.dk, op.dv, op.dq_up, op.dkv_up, op.dk_rope);
    with_width<T>(aligned, nope, value, op.rope.dims / 2, [&](auto width) {
      launch_kernel(call, head_grid(args.tokens), disassemble<T, width()>, args,
                    make_rope_table(op.rope));
    });
  });
}

}  // namespace strait::kernels::cuda
