#include "kernels/mla.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;

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

/// kWidth rotated pairs: two packets, side by side when pairs are interleaved.
template <class T, int kWidth>
struct RopeUnit {
  Floats<kWidth> first, second;

  /// Where the second packet lies behind the first, and the first behind the rope channels' start.
  static __device__ int gap(const RopeTable& table) {
    return table.interleaved ? kWidth : table.pairs;
  }
  static __device__ int offset(const RopeTable& table, int unit) {
    return unit * kWidth * (table.interleaved ? 2 : 1);
  }

  __device__ void load(const T* rope, const RopeTable& table, int unit) {
    const T* p = rope + offset(table, unit);
    first = Packet<T, kWidth>::load(p).floats();
    second = Packet<T, kWidth>::load(p + gap(table)).floats();
  }

  __device__ void store(T* rope, const RopeTable& table, int unit) const {
    T* p = rope + offset(table, unit);
    Packet<T, kWidth>::from(first).store(p);
    Packet<T, kWidth>::from(second).store(p + gap(table));
  }

  static __device__ void turn_pair(float& a, float& b, float2 angle, float sign) {
    const float x = a, y = b;
    a = fmaf(-sign * angle.y, y, x * angle.x);
    b = fmaf(sign * angle.y, x, y * angle.x);
  }

  /// `angles` are those of the unit's pairs; `sign` is -1 for the inverse.
  __device__ void turn(const float2* angles, bool interleaved, float sign) {
    if (interleaved && kWidth > 1) {
#pragma unroll
      for (int i = 0; i + 1 < kWidth; i += 2) {
        turn_pair(first[i], first[i + 1], angles[i / 2], sign);
        turn_pair(second[i], second[i + 1], angles[kWidth / 2 + i / 2], sign);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) turn_pair(first[i], second[i], angles[i], sign);
  }
};

template <class T, int kWidth>
__device__ __forceinline__ void copy_packet(const T* from, T* to) {
  Packet<T, kWidth>::load(from).store(to);
}

/// Angles of one position; ends with a barrier.
__device__ void fill_angles(const RopeTable& table, std::int32_t position, float2* angles) {
  for (int i = threadIdx.x; i < table.pairs; i += kThreads) {
    angles[i] = rope_angle(position, table.half_turns[i]);
  }
  __syncthreads();
}

template <class T>
struct ForwardArgs {
  View<const T> q_up, kv_up, k_rope;
  View<T> q, k;
  const std::int32_t* positions;
  int heads, nope;
};

/// A block per token.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    assemble(const __grid_constant__ ForwardArgs<T> args, const __grid_constant__ RopeTable table) {
  __shared__ float2 angles[RopeTable::kMaxPairs];
  const std::int64_t t = blockIdx.x;
  fill_angles(table, args.positions[t], angles);
  const int nope_units = args.nope / kWidth, units = nope_units + table.pairs / kWidth;
  for (int i = threadIdx.x; i < args.heads * units; i += kThreads) {
    const int h = i / units, unit = i % units;
    const T* q_up = args.q_up.at(t, h);
    T* q = args.q.at(t, h);
    T* k = args.k.at(t, h);
    if (unit < nope_units) {
      const int c = unit * kWidth;
      if (q != q_up) copy_packet<T, kWidth>(q_up + c, q + c);
      copy_packet<T, kWidth>(args.kv_up.at(t, h) + c, k + c);
      continue;
    }
    const int rope = unit - nope_units;
    RopeUnit<T, kWidth> query, key;
    query.load(q_up + args.nope, table, rope);
    key.load(args.k_rope.at(t, 0), table, rope);
    query.turn(angles + rope * kWidth, table.interleaved, 1);
    key.turn(angles + rope * kWidth, table.interleaved, 1);
    query.store(q + args.nope, table, rope);
    key.store(k + args.nope, table, rope);
  }
}

template <class T>
struct BackwardArgs {
  View<const T> dq, dk, dv;
  View<T> dq_up, dkv_up, dk_rope;
  const std::int32_t* positions;
  int heads, nope, value;
};

/// A block per token.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    disassemble(const __grid_constant__ BackwardArgs<T> args,
                const __grid_constant__ RopeTable table) {
  __shared__ float2 angles[RopeTable::kMaxPairs];
  const std::int64_t t = blockIdx.x;
  fill_angles(table, args.positions[t], angles);
  const int nope_units = args.nope / kWidth, value_units = args.value / kWidth;
  const int rope_units = table.pairs / kWidth, units = nope_units + value_units + rope_units;
  // The shared key's gradient is one more head's worth of rope units.
  for (int i = threadIdx.x; i < args.heads * units + rope_units; i += kThreads) {
    const int h = i / units;
    int unit = i % units;
    RopeUnit<T, kWidth> turned;
    if (h == args.heads) {
      // The rotation is linear: turned back once, after the sum over heads.
      turned.load(args.dk.at(t, 0) + args.nope, table, unit);
      for (int other = 1; other < args.heads; ++other) {
        RopeUnit<T, kWidth> more;
        more.load(args.dk.at(t, other) + args.nope, table, unit);
#pragma unroll
        for (int c = 0; c < kWidth; ++c) {
          turned.first[c] += more.first[c];
          turned.second[c] += more.second[c];
        }
      }
      turned.turn(angles + unit * kWidth, table.interleaved, -1);
      turned.store(args.dk_rope.at(t, 0), table, unit);
      continue;
    }
    const T* dq = args.dq.at(t, h);
    T* dq_up = args.dq_up.at(t, h);
    T* dkv_up = args.dkv_up.at(t, h);
    if (unit < nope_units) {
      const int c = unit * kWidth;
      if (dq_up != dq) copy_packet<T, kWidth>(dq + c, dq_up + c);
      copy_packet<T, kWidth>(args.dk.at(t, h) + c, dkv_up + c);
      continue;
    }
    unit -= nope_units;
    if (unit < value_units) {
      const int c = unit * kWidth;
      copy_packet<T, kWidth>(args.dv.at(t, h) + c, dkv_up + args.nope + c);
      continue;
    }
    unit -= value_units;
    turned.load(dq + args.nope, table, unit);
    turned.turn(angles + unit * kWidth, table.interleaved, -1);
    turned.store(dq_up + args.nope, table, unit);
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
                              .heads = static_cast<int>(op.q_up.shape[1]),
                              .nope = static_cast<int>(nope)};
    const bool aligned = all_aligned(op.q_up, op.kv_up, op.k_rope, op.q, op.k);
    with_width<T>(aligned, nope, 0, op.rope.dims / 2, [&](auto width) {
      launch_kernel(call, {static_cast<unsigned>(op.q_up.shape[0]), kThreads}, assemble<T, width()>,
                    args, make_rope_table(op.rope));
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
                               .heads = static_cast<int>(op.dq.shape[1]),
                               .nope = static_cast<int>(nope),
                               .value = static_cast<int>(value)};
    const bool aligned = all_aligned(op.dq, op.dk, op.dv, op.dq_up, op.dkv_up, op.dk_rope);
    with_width<T>(aligned, nope, value, op.rope.dims / 2, [&](auto width) {
      launch_kernel(call, {static_cast<unsigned>(op.dq.shape[0]), kThreads},
                    disassemble<T, width()>, args, make_rope_table(op.rope));
    });
  });
}

}  // namespace strait::kernels::cuda
