#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/cca.h"
#include "kernels/cpu/cblas.h"
#include "kernels/cpu/head.h"

// Pieces shared by the CPU forward and backward of the CCA mix: rows and their history, and the
// convolutions of one block of rows.
namespace strait::kernels::cpu {

/// Rows of a chunk worked on together.
inline constexpr std::int64_t kCcaBlockRows = 128;

/// Rows [first, first + rows) of one chunk; `first` counts from the chunk's start.
struct CcaBlock {
  std::int64_t chunk = 0;
  std::int64_t first = 0;
  std::int64_t rows = 0;
};

/// Dims and history of the rows of an op. A row is named by (chunk, row in the chunk); rows below
/// zero are halo columns. Reads the op it is made from, which outlives it.
template <class T>
class CcaGeometry {
 public:
  /// `query` and `key` are q and k, or their gradients.
  template <class Op>
  CcaGeometry(const Op& op, const ConstTensor& query, const ConstTensor& key)
      : width(query.shape[2]),
        heads(query.shape[1] + key.shape[1]),
        groups(key.shape[1]),
        taps0(op.w0.defined() ? op.w0.shape[0] : 1),
        taps1(op.w1.defined() ? op.w1.shape[1] / width : 1),
        chunk_rows(op.chunk),
        chunks(op.z.shape[0] / op.chunk),
        z_(op.z),
        halo_(op.halo_z),
        doc_pos_(op.doc_pos.template as<std::int32_t>()) {}

  std::int64_t query_heads() const { return heads - groups; }
  std::int64_t group_size() const { return query_heads() / groups; }
  std::int64_t halo_rows() const { return halo_.defined() ? taps0 - 1 + taps1 - 1 : 0; }
  std::int64_t blocks_per_chunk() const { return (chunk_rows + kCcaBlockRows - 1) / kCcaBlockRows; }
  std::int64_t blocks() const { return chunks * blocks_per_chunk(); }

  CcaBlock block(std::int64_t index) const {
    const std::int64_t first = index % blocks_per_chunk() * kCcaBlockRows;
    return {index / blocks_per_chunk(), first, std::min(kCcaBlockRows, chunk_rows - first)};
  }

  /// Rows before this one that belong to its document and are at hand; negative when the row
  /// itself is a halo column of another document.
  std::int64_t history(std::int64_t chunk, std::int64_t row) const {
    const std::int64_t in_chunk = std::max<std::int64_t>(row, 0);
    const std::int64_t in_document = doc_pos_[chunk * chunk_rows + in_chunk] + row - in_chunk;
    return std::min(in_document, row + halo_rows());
  }

  const T* z(std::int64_t chunk, std::int64_t row) const { return at(z_, halo_, chunk, row); }

  /// The same row in another tensor of z's shape and its halo's.
  template <class Pointer>
  auto* at(const BasicTensor<Pointer>& rows, const BasicTensor<Pointer>& halo, std::int64_t chunk,
           std::int64_t row) const {
    return row >= 0 ? rows.template as<T>() + (chunk * chunk_rows + row) * rows.stride[0]
                    : head<T>(halo, chunk, row + halo_rows());
  }

  std::int64_t width;  // d
  std::int64_t heads;  // H + G
  std::int64_t groups;
  std::int64_t taps0, taps1;  // 1 where a convolution is off
  std::int64_t chunk_rows, chunks;

 private:
  ConstTensor z_, halo_;
  const std::int32_t* doc_pos_;
};

/// The convolutions of one block at a time, head by head; heads may run in parallel.
template <class T>
class CcaConvolution {
 public:
  /// `op` and `geometry` outlive this.
  template <class Op>
  CcaConvolution(const Op& op, const CcaGeometry<T>& geometry)
      : g_(geometry),
        convs_(op.switches.convs),
        w0_(op.w0.template as<T>()),
        b0_(op.b0.template as<T>()),
        w1_(op.w1.template as<T>()),
        b1_(op.b1.template as<T>()),
        before_(convs_ == 2 ? g_.taps1 - 1 : 0),
        columns_(g_.heads * (kCcaBlockRows + before_) * g_.taps1 * g_.width),
        mixed_(g_.heads * kCcaBlockRows * g_.width) {}

  /// Fills mixed(head) and, with two convolutions, columns(head).
  void run(const CcaBlock& block, std::int64_t head) {
    const std::int64_t d = g_.width;
    T* out = mixed(head, 0);
    if (convs_ == 0) {
      for (std::int64_t i = 0; i < block.rows; ++i) {
        std::copy_n(g_.z(block.chunk, block.first + i) + head * d, d, out + i * d);
      }
    } else if (convs_ == 1) {
      for (std::int64_t i = 0; i < block.rows; ++i) depthwise(block, i, head, out + i * d);
    } else {
      gather(block, head);
      for (std::int64_t i = 0; i < block.rows; ++i) std::copy_n(b1_ + head * d, d, out + i * d);
      const std::int64_t depth = g_.taps1 * d;
      gemm<T>(block.rows, d, depth, T(1), {columns(head, 0), depth}, {w1_ + head * depth * d, d},
              T(1), out, d);
    }
  }

  /// Output u of one head at row i of the block, [rows, d]. The caller may overwrite it.
  T* mixed(std::int64_t head, std::int64_t i) {
    return mixed_.data() + (head * kCcaBlockRows + i) * g_.width;
  }

  /// What the second convolution multiplies at row i, [n1 d], oldest tap first. Rows -(n1 - 1) ..
  /// -1 hold the depthwise output before the block in their last d elements.
  T* columns(std::int64_t head, std::int64_t i) {
    const std::int64_t row = head * (kCcaBlockRows + before_) + before_ + i;
    return columns_.data() + row * g_.taps1 * g_.width;
  }

 private:
  /// a = b0 + sum over taps, at row i of the block (below zero: before it).
  void depthwise(const CcaBlock& block, std::int64_t i, std::int64_t head, T* out) const {
    const std::int64_t d = g_.width, channels = g_.heads * d, row = block.first + i;
    const std::int64_t back = std::min(g_.taps0 - 1, g_.history(block.chunk, row));
    const T* bias = b0_ + head * d;
    const T* weight = w0_ + (g_.taps0 - 1) * channels + head * d;
    const T* z = g_.z(block.chunk, row) + head * d;
#pragma omp simd
    for (std::int64_t c = 0; c < d; ++c) out[c] = bias[c] + weight[c] * z[c];
    for (std::int64_t s = 1; s <= back; ++s) {
      weight -= channels;
      z = g_.z(block.chunk, row - s) + head * d;
#pragma omp simd
      for (std::int64_t c = 0; c < d; ++c) out[c] += weight[c] * z[c];
    }
  }

  void gather(const CcaBlock& block, std::int64_t head) {
    const std::int64_t d = g_.width, last = (g_.taps1 - 1) * d;
    // Rows before the first row at hand, or of another document, are never read.
    const std::int64_t reach = std::min(before_, g_.history(block.chunk, block.first));
    for (std::int64_t i = -reach; i < block.rows; ++i) {
      T* out = columns(head, i);
      depthwise(block, i, head, out + last);
      if (i < 0) continue;
      const std::int64_t history = g_.history(block.chunk, block.first + i);
      for (std::int64_t s = 1; s < g_.taps1; ++s) {
        const T* older = s <= history ? columns(head, i - s) + last : b0_ + head * d;
        std::copy_n(older, d, out + last - s * d);
      }
    }
  }

  const CcaGeometry<T>& g_;
  int convs_;
  const T *w0_, *b0_, *w1_, *b1_;
  std::int64_t before_;     // n1 - 1 with two convolutions
  std::vector<T> columns_;  // [H + G, (n1 - 1) + rows, n1 d]
  std::vector<T> mixed_;    // [H + G, rows, d]
};

/// Factor that brings a head of d channels to length sqrt(d).
template <class T>
T norm_factor(const T* y, std::int64_t d) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < d; ++c) sum += y[c] * y[c];
  return std::sqrt(static_cast<T>(d)) / std::sqrt(sum + static_cast<T>(kCcaNormEps));
}

/// The factor tau of one key head; 1 without norm.
template <class T>
T key_factor(const ConstTensor& temp, std::int64_t group, const CcaMixSwitches& on) {
  if (!on.norm) return T(1);
  const T value = temp.as<T>()[group];
  return on.temperature == KeyTemperature::exp ? std::exp(value) : value;
}

/// Adds the qk-mean of one group to row i of the convolutions' output: with q0 and k0 from before
/// the convolutions, q[h] += (q0[h] + k0) / 2 and k += (mean q0 + k0) / 2.
template <class T>
void add_mean(const CcaGeometry<T>& g, const T* z, std::int64_t group, std::int64_t i,
              CcaConvolution<T>& convolution) {
  const std::int64_t d = g.width, size = g.group_size(), first = group * size;
  const T* k0 = z + (g.query_heads() + group) * d;
  const T share = T(0.5) / static_cast<T>(size);
  T* k = convolution.mixed(g.query_heads() + group, i);
  for (std::int64_t c = 0; c < d; ++c) k[c] += T(0.5) * k0[c];
  for (std::int64_t h = first; h < first + size; ++h) {
    const T* q0 = z + h * d;
    T* q = convolution.mixed(h, i);
    for (std::int64_t c = 0; c < d; ++c) {
      q[c] += T(0.5) * (q0[c] + k0[c]);
      k[c] += share * q0[c];
    }
  }
}

}  // namespace strait::kernels::cpu
