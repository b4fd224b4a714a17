#include "kernels/cuda/sm90/tensor_map.h"

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace strait::kernels::cuda::sm90 {
namespace {

constexpr std::uint32_t kBoxBytes = 128;

std::int64_t bytes_of_element(const TensorLayout& tensor) {
  return tensor.wide ? 4 : 2;
}

using Encode = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found through the runtime so that libcuda is not linked.
Encode encode_function() {
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                                12000, cudaEnableDefault, &result);
    if (status != cudaSuccess || result != cudaDriverEntryPointSuccess) {
      throw std::runtime_error("tensor map: the driver has no cuTensorMapEncodeTiled");
    }
    return reinterpret_cast<Encode>(found);
  }();
  return encode;
}

/// Map of {column, row, head} and, with rank 4, chunk of `chunk_rows`.
CUtensorMap encode(const TensorLayout& tensor, std::int64_t chunk_rows, cuuint32_t rank,
                   int box_rows) {
  CUtensorMap map;
  const auto size = [](std::int64_t n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t dims[4] = {size(tensor.width), size(chunk_rows), size(tensor.heads),
                              size(tensor.rows / chunk_rows)};
  const std::int64_t element = bytes_of_element(tensor);
  const cuuint64_t strides[3] = {size(tensor.row_stride * element),
                                 size(tensor.head_stride * element),
                                 size(chunk_rows * tensor.row_stride * element)};
  const cuuint32_t box[4] = {kBoxBytes / static_cast<cuuint32_t>(element),
                             static_cast<cuuint32_t>(box_rows), 1, 1};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  const CUresult result = encode_function()(
      &map, tensor.wide ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank,
      const_cast<void*>(tensor.data), dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
      CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    throw std::runtime_error("tensor map: cuTensorMapEncodeTiled refused a tensor of " +
                             std::to_string(tensor.rows) + " rows, " +
                             std::to_string(tensor.heads) + " heads of " +
                             std::to_string(tensor.width) + ", error " + std::to_string(result));
  }
  return map;
}

}  // namespace

bool addressable(const TensorLayout& tensor) {
  constexpr std::int64_t kMostRows = std::int64_t{1} << 31;
  const auto stride_fits = [&](std::int64_t stride) {
    const std::int64_t bytes = stride * bytes_of_element(tensor);
    return bytes > 0 && bytes % 16 == 0 && bytes < (std::int64_t{1} << 40);
  };
  return reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0 && tensor.rows > 0 &&
         tensor.rows < kMostRows && tensor.heads > 0 && stride_fits(tensor.row_stride) &&
         stride_fits(tensor.head_stride);
}

CUtensorMap make_map(const TensorLayout& tensor, int box_rows) {
  return encode(tensor, tensor.rows, 3, box_rows);
}

CUtensorMap make_chunked_map(const TensorLayout& tensor, std::int64_t chunk_rows, int box_rows) {
  return encode(tensor, chunk_rows, 4, box_rows);
}

}  // namespace strait::kernels::cuda::sm90
