#include "optim/newton_schulz.h"

#include <algorithm>
#include <utility>

#include "kernels/gemm.h"
#include "kernels/muon.h"

namespace strait::optim {
namespace {

using kernels::launch;

/// Matrices with a shorter side of this many rows keep a GPU busy one by one, and dense products
/// are the faster ones; smaller matrices share a grouped product.
constexpr std::int64_t kBusyAlone = 1024;

template <class AnyTensor>
AnyTensor matrix(const AnyTensor& batch, std::int64_t i) {
  return AnyTensor(batch.slice(0, i, 1).data, batch.dtype, {batch.shape[1], batch.shape[2]});
}

template <class AnyTensor>
AnyTensor stacked(const AnyTensor& batch) {
  return batch.view({batch.shape[0] * batch.shape[1], batch.shape[2]});
}

/// Products of the matrices of two batches, pair by pair.
class BatchProducts {
 public:
  BatchProducts(const Tensor& u, core::Arena& scratch, const Stream& stream)
      : stream_(stream), count_(u.shape[0]) {
    if (count_ == 1 || std::min(u.shape[1], u.shape[2]) >= kBusyAlone) return;
    offsets_ = scratch.take(DType::i32, {count_ + 1});
    launch(kernels::EvenOffsets{.offsets = offsets_, .rows = u.shape[1]}, stream_);
  }

  /// c = a b, or a b^T with trans_b.
  void multiply(ConstTensor a, ConstTensor b, Tensor c, bool trans_b) const {
    if (!offsets_.defined()) return one_by_one(a, b, c, trans_b);
    launch(
        kernels::GroupedGemm{
            .a = stacked(a), .b = b, .offsets = offsets_, .c = stacked(c), .trans_b = trans_b},
        stream_);
  }

 private:
  void one_by_one(ConstTensor a, ConstTensor b, Tensor c, bool trans_b) const {
    for (std::int64_t i = 0; i < count_; ++i) {
      launch(
          kernels::Gemm{
              .a = matrix(a, i), .b = matrix(b, i), .c = matrix(c, i), .trans_b = trans_b},
          stream_);
    }
  }

  const Stream& stream_;
  std::int64_t count_;
  Tensor offsets_;  // of groups of R rows
};

}  // namespace

const std::array<Quintic, 5>& quintics(config::NewtonSchulz kind) {
  static constexpr Quintic kOriginal = {3.4445, -4.7750, 2.0315};
  static constexpr std::array<std::array<Quintic, 5>, 3> kSteps = {{
      {{kOriginal, kOriginal, kOriginal, kOriginal, kOriginal}},
      {{{4.0848, -6.8946, 2.9270},
        {3.9505, -6.3029, 2.6377},
        {3.7418, -5.5913, 2.3037},
        {2.8769, -3.1427, 1.2046},
        {2.8366, -3.0525, 1.2012}}},
      {{{8.2051, -22.9019, 16.4607},
        {4.0664, -2.8612, 0.5184},
        {3.9096, -2.8234, 0.5250},
        {3.2856, -2.4153, 0.4853},
        {2.2779, -1.6198, 0.3985}}},
  }};
  return kSteps[static_cast<std::size_t>(kind)];
}

Tensor orthogonalise(Tensor u, Tensor other, const std::array<Quintic, 5>& steps,
                     core::Arena& scratch, const Stream& stream) {
  const core::Frame frame(scratch);
  const bool tall = u.shape[1] > u.shape[2];
  const std::int64_t count = u.shape[0], side = tall ? u.shape[2] : u.shape[1];
  const BatchProducts products(u, scratch, stream);
  const Tensor gram = scratch.take(u.dtype, {count, side, side}),
               factor = scratch.take(u.dtype, {count, side, side});
  launch(kernels::FrobeniusScale{.x = u}, stream);
  for (const Quintic& step : steps) {
    launch(kernels::SymmetricProduct{.x = u, .c = gram, .trans = tall}, stream);
    launch(kernels::SymmetricProduct{.x = gram, .c = factor, .mirror = false}, stream);
    launch(
        kernels::NewtonSchulzFactor{
            .gram = gram, .square = factor, .a = step.a, .b = step.b, .c = step.c},
        stream);
    if (tall) {
      products.multiply(u, factor, other, true);
    } else {
      products.multiply(factor, u, other, false);
    }
    std::swap(u, other);
  }
  return u;
}

}  // namespace strait::optim
