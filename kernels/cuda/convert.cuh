#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/dtype.cuh"
#include "kernels/tensor.h"

// Memory in packets of up to 16 bytes, arithmetic in float.
namespace strait::kernels::cuda {

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPacket = 16 / static_cast<int>(sizeof(T));

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(bf16 x) {
  return __bfloat162float(x);
}

template <class T>
__device__ T from_float(float x) {
  if constexpr (sizeof(T) == 2) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

/// kWidth values as floats, in registers when every index is a compile-time constant.
template <int kWidth>
struct Floats {
  float v[kWidth];
  __device__ float& operator[](int i) { return v[i]; }
  __device__ float operator[](int i) const { return v[i]; }
};

/// kWidth consecutive values as they lie in memory: kept raw, a row in bf16 takes half the
/// registers of its floats. `count` < kWidth marks the end of a row: the rest reads as zero and is
/// not written. Full packets need addresses aligned to the packet (16 bytes at most).
template <class T, int kWidth>
struct Packet {
  static constexpr int kBytes = static_cast<int>(sizeof(T)) * kWidth;
  static constexpr int kWords = kBytes < 4 ? 1 : kBytes / 4;
  std::uint32_t word[kWords];

  __device__ float get(int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(word[i]);
    } else {
      return __uint_as_float(i % 2 ? word[i / 2] & 0xffff0000u : word[i / 2] << 16);
    }
  }

  __device__ Floats<kWidth> floats() const {
    Floats<kWidth> out;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) out[i] = get(i);
    return out;
  }

  __device__ static Packet from(const Floats<kWidth>& x) {
    Packet out;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) out.word[i] = __float_as_uint(x[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        const float high = 2 * i + 1 < kWidth ? x[2 * i + 1 < kWidth ? 2 * i + 1 : 0] : 0.0f;
        const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * i], high);
        out.word[i] = *reinterpret_cast<const std::uint32_t*>(&pair);
      }
    }
    return out;
  }

  __device__ static Packet load(const T* p) {
    Packet out;
    if constexpr (kBytes % 16 == 0) {
#pragma unroll
      for (int i = 0; i < kBytes / 16; ++i) {
        const uint4 x = reinterpret_cast<const uint4*>(p)[i];
        out.word[4 * i] = x.x;
        out.word[4 * i + 1] = x.y;
        out.word[4 * i + 2] = x.z;
        out.word[4 * i + 3] = x.w;
      }
    } else if constexpr (kBytes == 8) {
      const uint2 x = *reinterpret_cast<const uint2*>(p);
      out.word[0] = x.x;
      out.word[1] = x.y;
    } else if constexpr (kBytes == 4) {
      out.word[0] = *reinterpret_cast<const std::uint32_t*>(p);
    } else {
      static_assert(kBytes == 2);
      out.word[0] = *reinterpret_cast<const std::uint16_t*>(p);
    }
    return out;
  }

  __device__ static Packet load(const T* p, std::int64_t count) {
    if (count >= kWidth) return load(p);
    Floats<kWidth> x;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) x[i] = i < count ? to_float(p[i]) : 0.0f;
    return from(x);
  }

  __device__ void store(T* p) const {
    if constexpr (kBytes % 16 == 0) {
#pragma unroll
      for (int i = 0; i < kBytes / 16; ++i) {
        reinterpret_cast<uint4*>(p)[i] =
            make_uint4(word[4 * i], word[4 * i + 1], word[4 * i + 2], word[4 * i + 3]);
      }
    } else if constexpr (kBytes == 8) {
      *reinterpret_cast<uint2*>(p) = make_uint2(word[0], word[1]);
    } else if constexpr (kBytes == 4) {
      *reinterpret_cast<std::uint32_t*>(p) = word[0];
    } else {
      *reinterpret_cast<std::uint16_t*>(p) = static_cast<std::uint16_t>(word[0]);
    }
  }

  __device__ void store(T* p, std::int64_t count) const {
    if (count >= kWidth) return store(p);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      if (i < count) p[i] = from_float<T>(get(i));
    }
  }
};

/// Reads and writes of a parameter or its gradient, which may be wider than the compute dtype.
/// The branch is the same for all threads.
template <int kWidth>
__device__ Floats<kWidth> load_wide(const void* data, bool is_bf16, std::int64_t offset,
                                    std::int64_t count = kWidth) {
  if (is_bf16) {
    return Packet<bf16, kWidth>::load(static_cast<const bf16*>(data) + offset, count).floats();
  }
  return Packet<float, kWidth>::load(static_cast<const float*>(data) + offset, count).floats();
}

template <int kWidth>
__device__ void store_wide(void* data, bool is_bf16, std::int64_t offset, const Floats<kWidth>& x,
                           std::int64_t count = kWidth) {
  if (is_bf16) {
    Packet<bf16, kWidth>::from(x).store(static_cast<bf16*>(data) + offset, count);
  } else {
    Packet<float, kWidth>::from(x).store(static_cast<float*>(data) + offset, count);
  }
}

/// Whether every row of `t` starts at a multiple of 16 bytes, so that packets can be read from it.
/// Absent tensors do not object.
inline bool aligned_rows(const ConstTensor& t) {
  if (!t.defined()) return true;
  if (reinterpret_cast<std::uintptr_t>(t.data) % 16 != 0) return false;
  for (int i = 0; i + 1 < t.rank; ++i) {
    if (t.shape[i] > 1 && t.stride[i] * static_cast<std::int64_t>(size_of(t.dtype)) % 16 != 0) {
      return false;
    }
  }
  return true;
}

template <class... Tensors>
bool all_aligned(const Tensors&... tensors) {
  return (aligned_rows(tensors) && ...);
}

/// Calls body(integral_constant<int, packet width>): 16-byte packets or single elements.
template <class T, class Body>
void with_packets(bool in_packets, Body&& body) {
  if (in_packets) return body(std::integral_constant<int, kPacket<T>>{});
  body(std::integral_constant<int, 1>{});
}

}  // namespace strait::kernels::cuda
