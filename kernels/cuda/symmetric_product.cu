#include "kernels/cuda/grouped_gemm_sm90.h"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"
#include "kernels/cuda/symmetric.cuh"
#include "kernels/muon.h"

// Products of matrices with themselves: matrices are groups of equal size of a grouped product that
// leaves out the tiles above the diagonal.
namespace strait::kernels::cuda {
namespace {

/// What the matrix holds.
template <class T, int kWidth>
struct Held {
  static constexpr bool kReplaces = false;
  const T* c;

  __device__ Floats<kWidth> operator()(std::int64_t at, int, int left) const {
    return Packet<T, kWidth>::load(c + at, left).floats();
  }
};

void mirror(const SymmetricProduct& op, const Stream& stream) {
  with_real(op.c.dtype, SymmetricProduct::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(aligned_rows(op.c), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      T* const c = op.c.as<T>();
      launch_kernel({SymmetricProduct::kName, stream, {op.c}}, symmetric_grid<T>(op.c),
                    fill_symmetric<T, kWidth, Held<T, kWidth>>, Held<T, kWidth>{c}, c,
                    static_cast<int>(op.c.shape[1]));
    });
  });
}

template <class Product>
void multiply_lower(const Product& product, const Call& call) {
  if (takes_hopper(product)) return multiply_hopper(product, call, Half::lower);
  run(product, call.stream);
}

}  // namespace

std::string unsupported(const SymmetricProduct& op) {
  return unsupported_compute("x", op.x);
}

void run(const SymmetricProduct& op, const Stream& stream) {
  if (op.c.numel() == 0) return;
  const std::int64_t count = op.x.shape[0], rows = op.x.shape[1];
  const auto bytes = static_cast<std::size_t>(count + 1) * sizeof(std::int32_t);
  const Tensor offsets(Context::current().workspace(stream, bytes), DType::i32, {count + 1});
  run(EvenOffsets{.offsets = offsets, .rows = rows}, stream);
  const ConstTensor x = op.x.view({count * rows, op.x.shape[2]});
  const Call call{op.kName, stream, {op.x, op.c}};
  if (op.trans) {
    multiply_lower(
        GroupedGemmWgrad{.a = x, .b = x, .offsets = offsets, .dw = op.c, .accumulate = false},
        call);
  } else {
    multiply_lower(GroupedGemm{.a = x,
                               .b = op.x,
                               .offsets = offsets,
                               .c = op.c.view({count * rows, rows}),
                               .trans_b = true},
                   call);
  }
  if (op.mirror) mirror(op, stream);
}

}  // namespace strait::kernels::cuda
