#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Softmax attention over packed sequences. There is no batch dim: every mask in use (causal, full,
// sliding window, packed documents, context-parallel chunks) is one interval of key rows per query
// row, so the batch is just more documents. Both ends of the intervals are non-decreasing inside
// each contiguous chunk of queries. Query head h reads key/value head h / (H / G).
namespace strait::kernels {

/// o[t,h] = softmax(scale * q[t,h] k[j,g]^T) v[j,g] over k_begin[t] <= j < k_end[t].
/// An empty interval gives o = 0 and lse = -inf.
struct AttentionFwd {
  static constexpr const char* kName = "AttentionFwd";
  ConstTensor q;        // [T, H, dk]
  ConstTensor k;        // [U, G, dk]; U key rows, U == T without context parallelism
  ConstTensor v;        // [U, G, dv]
  ConstTensor k_begin;  // [T] i32
  ConstTensor k_end;    // [T] i32
  Tensor o;             // [T, H, dv]
  Tensor lse;           // [H, T] stat dtype, natural log-sum-exp of the scaled scores
  double scale = 1.0;
};

/// Gradients of q, k, v, assigned. Deterministic: sums run in query (key) order.
struct AttentionBwd {
  static constexpr const char* kName = "AttentionBwd";
  ConstTensor dout;     // [T, H, dv] gradient of o
  ConstTensor q;        // [T, H, dk]
  ConstTensor k;        // [U, G, dk]
  ConstTensor v;        // [U, G, dv]
  ConstTensor o;        // [T, H, dv]
  ConstTensor lse;      // [H, T]
  ConstTensor k_begin;  // [T] i32
  ConstTensor k_end;    // [T] i32
  Tensor dq;            // [T, H, dk]
  Tensor dk;            // [U, G, dk]
  Tensor dv;            // [U, G, dv]
  double scale = 1.0;
};

/// Attention over two sets of keys from attention over each: o and lse over both, given those over
/// one set (in o, lse) and over the other (`part`). Start with o = 0, lse = -inf.
struct AttentionMerge {
  static constexpr const char* kName = "AttentionMerge";
  ConstTensor part;      // [T, H, dv]
  ConstTensor part_lse;  // [H, T] stat dtype
  Tensor o;              // [T, H, dv] stat dtype, read and written
  Tensor lse;            // [H, T] stat dtype, read and written
};

void check(const AttentionFwd& op);
void check(const AttentionBwd& op);
void check(const AttentionMerge& op);
/// FLOPs of the (query, key) pairs inside the intervals; the intervals are read on the host, so on
/// any device but cpu the count is zero and the model's formula stands in.
Work work(const AttentionFwd& op, Device device);
Work work(const AttentionBwd& op, Device device);
Work work(const AttentionMerge& op);

}  // namespace strait::kernels
