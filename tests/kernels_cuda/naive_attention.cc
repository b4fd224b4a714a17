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

Sum sum_of(DType storage) {
  return storage == DType::bf16 ? Sum::truncating : Sum::plain;
}

/// Keys a query sees.
struct Seen {
  template <class Op>
  Seen(const Op& op, std::int64_t token)
      : begin(op.k_begin.template as<std::int32_t>()[token]),
        end(std::max(begin, op.k_end.template as<std::int32_t>()[token])) {}
  std::int32_t begin, end;
};

/// Keys or values of every group, and how their products are summed.
class Groups {
 public:
  Groups(const ConstTensor& x, DType storage) : sum_(sum_of(storage)) {
    for (std::int64_t g = 0; g < x.shape[1]; ++g) {
      panels_.emplace_back(Lines{{row_of(x, 0, g), 1}, x.stride[0], x.shape[0]}, x.shape[2]);
    }
  }

  /// factor * (row of x) of every key that a query sees.
  std::vector<float> products(const float* x, std::int64_t group, const Seen& seen,
                              float factor) const {
    std::vector<float> found(static_cast<std::size_t>(seen.end - seen.begin));
    panels_[group].dots(x, seen.begin, seen.end, sum_, found.data());
    for (float& product : found) product *= factor;
    return found;
  }

 private:
  std::vector<Panels> panels_;
  Sum sum_;
};

/// y += factor x.
void add(float* y, float factor, const float* x, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) y[c] += factor * x[c];
}

void attend(const AttentionFwd& op, DType storage, const Groups& keys, std::int64_t token,
            std::int64_t head) {
  const std::int64_t group = head / (op.q.shape[1] / op.k.shape[1]), width = op.v.shape[2];
  float* const o = row_of(op.o, token, head);
  float& lse = op.lse.as<float>()[head * op.q.shape[0] + token];
  std::fill_n(o, width, 0.0f);
  lse = -std::numeric_limits<float>::infinity();
  const Seen seen(op, token);
  std::vector<float> p =
      keys.products(row_of(op.q, token, head), group, seen, static_cast<float>(op.scale));
  if (p.empty()) return;
  const float most = *std::max_element(p.begin(), p.end());
  float sum = 0;
  for (float& x : p) sum += x = std::exp(x - most);
  lse = most + std::log(sum);
  for (std::size_t i = 0; i < p.size(); ++i) {
    const auto key = seen.begin + static_cast<std::int64_t>(i);
    add(o, rounded(p[i], storage), row_of(op.v, key, group), width);
  }
  for (std::int64_t c = 0; c < width; ++c) o[c] /= sum;
}

/// dq of one query and its share of dk and dv.
void differentiate(const AttentionBwd& op, DType storage, const Groups& keys, const Groups& values,
                   std::int64_t token, std::int64_t head) {
  const std::int64_t group = head / (op.q.shape[1] / op.k.shape[1]);
  const std::int64_t key_width = op.q.shape[2], value_width = op.v.shape[2];
  const float *q = row_of(op.q, token, head), *dout = row_of(op.dout, token, head);
  const float lse = op.lse.as<float>()[head * op.q.shape[0] + token];
  const auto scale = static_cast<float>(op.scale);
  const float delta = naive_dot(dout, row_of(op.o, token, head), value_width, sum_of(storage));
  float* const dq = row_of(op.dq, token, head);
  const Seen seen(op, token);
  const std::vector<float> s = keys.products(q, group, seen, scale);
  const std::vector<float> dp = values.products(dout, group, seen, 1);
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto key = seen.begin + static_cast<std::int64_t>(i);
    const float p = std::exp(s[i] - lse);
    const float ds = rounded(p * (dp[i] - delta), storage);
    add(row_of(op.dv, key, group), rounded(p, storage), dout, value_width);
    add(dq, scale * ds, row_of(op.k, key, group), key_width);
    add(row_of(op.dk, key, group), scale * ds, q, key_width);
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
  const Groups keys(op.k, storage);
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < tokens * heads; ++i) {
    attend(op, storage, keys, i / heads, i % heads);
  }
}

void run_naive(const AttentionBwd& op, DType storage) {
  for (const Tensor& x : {op.dq, op.dk, op.dv}) clear(x);
  const std::int64_t groups = op.k.shape[1], size = op.q.shape[1] / groups;
  const Groups keys(op.k, storage), values(op.v, storage);
  // A group's sums are its own.
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t t = 0; t < op.q.shape[0]; ++t) {
      for (std::int64_t h = g * size; h < (g + 1) * size; ++h) {
        differentiate(op, storage, keys, values, t, h);
      }
    }
  }
}

}  // namespace strait::kernels::test
