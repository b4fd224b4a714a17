#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels_cuda/naive.h"

namespace strait::kernels::test {
namespace {

template <class Pointer>
auto* row_of(const BasicTensor<Pointer>& x, std::int64_t token, std::int64_t head) {
  return x.template as<float>() + token * x.stride[0] + head * x.stride[1];
}

/// To `storage` and back, ties to even; the value is finite.
float rounded(float x, DType storage) {
  if (storage != DType::bf16) return x;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

/// Keys a query sees.
template <class Op>
struct Seen {
  Seen(const Op& op, std::int64_t token)
      : begin(op.k_begin.template as<std::int32_t>()[token]),
        end(std::max(begin, op.k_end.template as<std::int32_t>()[token])) {}
  std::int32_t begin, end;
};

/// s = scale q k of every key a query sees.
template <class Op>
std::vector<float> scores_of(const Op& op, std::int64_t token, std::int64_t head,
                             std::int64_t group) {
  const Seen<Op> seen(op, token);
  std::vector<float> scores;
  for (std::int64_t key = seen.begin; key < seen.end; ++key) {
    scores.push_back(static_cast<float>(op.scale) * naive_dot({row_of(op.q, token, head), 1},
                                                              {row_of(op.k, key, group), 1},
                                                              op.q.shape[2]));
  }
  return scores;
}

/// y += factor x.
void add(float* y, float factor, const float* x, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) y[c] += factor * x[c];
}

void attend(const AttentionFwd& op, DType storage, std::int64_t token, std::int64_t head) {
  const std::int64_t group = head / (op.q.shape[1] / op.k.shape[1]), width = op.v.shape[2];
  float* const o = row_of(op.o, token, head);
  float& lse = op.lse.as<float>()[head * op.q.shape[0] + token];
  std::fill_n(o, width, 0.0f);
  lse = -std::numeric_limits<float>::infinity();
  std::vector<float> p = scores_of(op, token, head, group);
  if (p.empty()) return;
  const float most = *std::max_element(p.begin(), p.end());
  float sum = 0;
  for (float& x : p) sum += x = std::exp(x - most);
  lse = most + std::log(sum);
  const std::int64_t first = Seen(op, token).begin;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const auto key = first + static_cast<std::int64_t>(i);
    add(o, rounded(p[i], storage), row_of(op.v, key, group), width);
  }
  for (std::int64_t c = 0; c < width; ++c) o[c] /= sum;
}

/// dq of one query and its share of dk and dv.
void differentiate(const AttentionBwd& op, DType storage, std::int64_t token, std::int64_t head) {
  const std::int64_t group = head / (op.q.shape[1] / op.k.shape[1]);
  const std::int64_t key_width = op.q.shape[2], value_width = op.v.shape[2];
  const float *q = row_of(op.q, token, head), *dout = row_of(op.dout, token, head);
  const float lse = op.lse.as<float>()[head * op.q.shape[0] + token];
  const auto scale = static_cast<float>(op.scale);
  const float delta = naive_dot({dout, 1}, {row_of(op.o, token, head), 1}, value_width);
  float* const dq = row_of(op.dq, token, head);
  std::int64_t key = Seen(op, token).begin;
  for (const float s : scores_of(op, token, head, group)) {
    const float p = std::exp(s - lse);
    const float dp = naive_dot({dout, 1}, {row_of(op.v, key, group), 1}, value_width);
    const float ds = rounded(p * (dp - delta), storage);
    add(row_of(op.dv, key, group), rounded(p, storage), dout, value_width);
    add(dq, scale * ds, row_of(op.k, key, group), key_width);
    add(row_of(op.dk, key, group), scale * ds, q, key_width);
    ++key;
  }
}

void clear(const Tensor& x) {
  for (std::int64_t t = 0; t < x.shape[0]; ++t) {
    for (std::int64_t h = 0; h < x.shape[1]; ++h) std::fill_n(row_of(x, t, h), x.shape[2], 0.0f);
  }
}

}  // namespace

void run_naive(const AttentionFwd& op, DType storage) {
  const std::int64_t tokens = op.q.shape[0], heads = op.q.shape[1];
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < tokens * heads; ++i) attend(op, storage, i / heads, i % heads);
}

void run_naive(const AttentionBwd& op, DType storage) {
  for (const Tensor& x : {op.dq, op.dk, op.dv}) clear(x);
  const std::int64_t groups = op.k.shape[1], size = op.q.shape[1] / groups;
  // A group's sums are its own.
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t t = 0; t < op.q.shape[0]; ++t) {
      for (std::int64_t h = g * size; h < (g + 1) * size; ++h) differentiate(op, storage, t, h);
    }
  }
}

}  // namespace strait::kernels::test
