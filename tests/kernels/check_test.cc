#include "kernels/check.h"

#include <cstdint>

#include "kernels/memory.h"
#include "tests/kernels/op_test.h"
#include "tests/support/message_of.h"

namespace strait::kernels {
namespace {

using test::Buffers;

template <class Body>
std::string error_of(Body&& body) {
  return strait::test::message_of<OpError>(body);
}

TEST(Checker, ShapeNamesOpFieldExpectedAndGot) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {3, 4});
  const Checker c("SomeOp");
  EXPECT_EQ(error_of([&] { c.shape("x", x, {3, Checker::kAny}); }), "");
  EXPECT_EQ(error_of([&] {
              c.shape("x", x, {3, 5});
            }),
            "SomeOp: x: expected shape [3, 5], got [3, 4] f32; pass a view of the expected shape");
  EXPECT_NE(error_of([&] { c.shape("x", x, {Checker::kAny}); }).find("[*], got [3, 4] f32"),
            std::string::npos);
  EXPECT_NE(error_of([&] { c.shape("x", Tensor{}, {3}); }).find("absent"), std::string::npos);
  EXPECT_EQ(error_of([&] { c.optional_shape("x", Tensor{}, {3}); }), "");
  EXPECT_NE(error_of([&] { c.optional_shape("x", x, {3}); }), "");
}

TEST(Checker, LastDimMustBeContiguousRowsNeedNot) {
  Buffers b;
  const Tensor wide = b.zeros(DType::f32, {3, 4});
  const Checker c("SomeOp");
  EXPECT_EQ(error_of([&] { c.shape("x", wide.slice(1, 1, 2), {3, 2}); }), "");
  EXPECT_NE(error_of([&] { c.contiguous("x", wide.slice(1, 1, 2)); }).find("contiguous"),
            std::string::npos);
  Tensor transposed = wide;
  std::swap(transposed.shape[0], transposed.shape[1]);
  std::swap(transposed.stride[0], transposed.stride[1]);
  EXPECT_NE(error_of([&] {
              c.shape("x", transposed, {4, 3});
            }).find("stride 4"),
            std::string::npos);
}

TEST(Checker, Dtypes) {
  Buffers b;
  const Tensor f32 = b.zeros(DType::f32, {1}), f64 = b.zeros(DType::f64, {1}),
               i32 = b.zeros(DType::i32, {1});
  const Checker c("SomeOp");
  EXPECT_NE(error_of([&] { c.dtype("x", f32, DType::f64); }).find("expected dtype f64"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { c.dtype("x", Tensor{}, DType::f64); }), "");
  EXPECT_EQ(error_of([&] { c.compute_dtype("x", f64); }), "");
  EXPECT_NE(error_of([&] { c.compute_dtype("x", i32); }), "");
  EXPECT_EQ(error_of([&] { c.wide_dtype("x", f32, DType::bf16); }), "");
  EXPECT_EQ(error_of([&] { c.wide_dtype("x", f64, DType::f64); }), "");
  EXPECT_NE(error_of([&] { c.wide_dtype("x", f64, DType::f32); }), "");
  EXPECT_NE(error_of([&] { c.wide_dtype("x", f32, DType::f64); }), "");
}

TEST(Checker, OverlapIsFoundAndColumnsOfOneBufferAreTold) {
  Buffers b;
  const Tensor wide = b.zeros(DType::f32, {4, 10});
  const Checker c("SomeOp");
  auto overlaps = [&](const Tensor& out, const Tensor& other) {
    return !error_of([&] { c.disjoint("y", out, "x", other); }).empty();
  };
  EXPECT_FALSE(overlaps(wide.slice(0, 0, 2), wide.slice(0, 2, 2)));
  EXPECT_TRUE(overlaps(wide.slice(0, 0, 3), wide.slice(0, 2, 2)));
  EXPECT_FALSE(overlaps(wide.slice(1, 0, 4), wide.slice(1, 4, 6)));
  EXPECT_FALSE(overlaps(wide.slice(1, 4, 6), wide.slice(1, 0, 4)));
  EXPECT_TRUE(overlaps(wide.slice(1, 0, 5), wide.slice(1, 4, 6)));
  EXPECT_TRUE(overlaps(wide.slice(1, 4, 6), wide.slice(1, 0, 5)));
  // Later rows, other columns: still disjoint; one shared column: not.
  EXPECT_FALSE(overlaps(wide.slice(0, 1, 3).slice(1, 0, 4), wide.slice(1, 4, 6)));
  EXPECT_TRUE(overlaps(wide.slice(0, 1, 3).slice(1, 0, 5), wide.slice(1, 4, 6)));
  EXPECT_FALSE(overlaps(wide.slice(0, 0, 0), wide));
  EXPECT_FALSE(overlaps(Tensor{}, wide));
}

TEST(Checker, SameViewMayAliasAShiftedOneMayNot) {
  Buffers b;
  const Tensor x = b.zeros(DType::f32, {4, 10});
  const Checker c("SomeOp");
  EXPECT_EQ(error_of([&] { c.same_or_disjoint("y", x, "x", x); }), "");
  EXPECT_NE(error_of([&] {
              c.same_or_disjoint("y", x.slice(0, 0, 3), "x", x.slice(0, 1, 3));
            }).find("overlaps x"),
            std::string::npos);
  EXPECT_NE(error_of([&] { c.same_or_disjoint("y", x.view({10, 4}), "x", x); }), "");
}

TEST(Memory, CpuIsAlignedAndCopies) {
  const std::vector<int> out = {1, 2, 3};
  void* pointer = allocate(Device::cpu, 12);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pointer) % 256, 0u);
  copy_to_device(pointer, out.data(), 12, Stream{});
  std::vector<int> in(3);
  copy_to_host(in.data(), pointer, 12, Stream{});
  synchronise(Stream{});
  EXPECT_EQ(in, out);
  release(Device::cpu, pointer);
  void* none = allocate(Device::cpu, 0);
  EXPECT_NE(none, nullptr);
  release(Device::cpu, none);
  EXPECT_THROW(allocate(Device::cpu, SIZE_MAX), std::bad_alloc);
}

TEST(Memory, PlanReservesMoreThanAnyMachineHasAtDistinctAddresses) {
  const std::size_t tebibyte = std::size_t{1} << 40;
  char* first = static_cast<char*>(allocate(Device::plan, tebibyte));
  char* second = static_cast<char*>(allocate(Device::plan, tebibyte));
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first + tebibyte <= second || second + tebibyte <= first);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 256, 0u);
  const Stream plan{.device = Device::plan};
  int host = 7;
  copy_to_device(first, &host, sizeof host, plan);
  copy_to_host(&host, first, sizeof host, plan);
  EXPECT_EQ(host, 0);
  release(Device::plan, first);
  release(Device::plan, second);
}

TEST(Memory, CudaIsThereOrRefusedByName) {
  if (available(Device::cuda)) {
    void* pointer = allocate(Device::cuda, 1);
    EXPECT_NE(pointer, nullptr);
    release(Device::cuda, pointer);
    return;
  }
  const auto message_of = [](auto&& body) -> std::string {
    try {
      body();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const Stream cuda{.device = Device::cuda};
  int host = 0;
  const std::string messages[] = {
      message_of([] { allocate(Device::cuda, 1); }), message_of([&] { synchronise(cuda); }),
      message_of([&] { copy_to_device(&host, &host, sizeof host, cuda); }),
      message_of([&] { copy_to_host(&host, &host, sizeof host, cuda); })};
  for (const std::string& message : messages) {
    // Refused by a build without the backend, or by the runtime for want of a device.
    EXPECT_TRUE(message.find("built without CUDA") != std::string::npos ||
                message.find("CUDA driver") != std::string::npos ||
                message.find("CUDA-capable device") != std::string::npos)
        << message;
  }
  release(Device::cuda, nullptr);
}

}  // namespace
}  // namespace strait::kernels
