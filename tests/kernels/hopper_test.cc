#include "kernels/hopper.h"

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

TEST(Hopper, GeneralKernelsPadHeadsToATile) {
  EXPECT_EQ(padded_heads({96, 64}), (HeadDims{128, 128}));
  EXPECT_EQ(padded_heads({64, 64}), (HeadDims{64, 64}));
  EXPECT_EQ(padded_heads({136, 128}), (HeadDims{192, 128}));
  EXPECT_EQ(padded_heads({192, 192}), (HeadDims{256, 256}));
  EXPECT_EQ(padded_heads({512, 64}), (HeadDims{512, 64}));
}

TEST(Hopper, HasKernelsForExactHeadsInBf16Alone) {
  const auto op = [](DType dtype, std::int64_t key, std::int64_t value) {
    AttentionFwd attention;
    attention.q.dtype = dtype;
    attention.q.shape[2] = key;
    attention.v.shape[2] = value;
    return attention;
  };
  EXPECT_TRUE(has_hopper_kernel(op(DType::bf16, 192, 128)));
  EXPECT_FALSE(takes_general_kernel(op(DType::bf16, 192, 128)));
  EXPECT_FALSE(has_hopper_kernel(op(DType::bf16, 96, 64)));
  EXPECT_TRUE(takes_general_kernel(op(DType::bf16, 96, 64)));
  EXPECT_FALSE(has_hopper_kernel(op(DType::f32, 64, 64)));
  EXPECT_FALSE(takes_general_kernel(op(DType::f32, 64, 64)));
}

}  // namespace
}  // namespace strait::kernels
