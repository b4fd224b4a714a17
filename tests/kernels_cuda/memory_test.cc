#include "kernels/memory.h"

#include <numeric>

#include "kernels/device_error.h"
#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaMemory : public DeviceTest {};

const Stream kCuda{.device = Device::cuda};

TEST_F(CudaMemory, CopiesBothWays) {
  std::vector<int> out(100003), in(out.size());
  std::iota(out.begin(), out.end(), 1);
  void* pointer = allocate(Device::cuda, out.size() * sizeof(int));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pointer) % 256, 0u);
  copy_to_device(pointer, out.data(), out.size() * sizeof(int), kCuda);
  copy_to_host(in.data(), pointer, in.size() * sizeof(int), kCuda);
  synchronise(kCuda);
  EXPECT_EQ(in, out);
  release(Device::cuda, pointer);
  release(Device::cuda, nullptr);
}

TEST_F(CudaMemory, TooLargeABlockIsRefusedWithNumbers) {
  try {
    allocate(Device::cuda, std::size_t{1} << 50);
    ADD_FAILURE() << "allocated a pebibyte";
  } catch (const DeviceMemoryError& error) {
    EXPECT_NE(std::string(error.what()).find("1125899906842624 bytes do not fit"),
              std::string::npos)
        << error.what();
  }
  void* pointer = allocate(Device::cuda, 16);  // the failure leaves nothing behind
  EXPECT_NE(pointer, nullptr);
  release(Device::cuda, pointer);
}

TEST_F(CudaMemory, AFailedCopyNamesItself) {
  int host = 0;
  try {
    copy_to_device(nullptr, &host, sizeof host, kCuda);
    synchronise(kCuda);
    ADD_FAILURE() << "copied to address 0";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("copy_to_device of 4 bytes"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace strait::kernels
