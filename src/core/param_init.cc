#include <array>

#include "core/param_table.h"
#include "core/rng.h"
#include "kernels/memory.h"

// Initial values of parameters.
namespace strait::core {
namespace {

/// Where the rows (all dims but the last) of a part lie, here and in the global part.
class PartRows {
 public:
  PartRows(const Part& part, const Shard& shard) {
    const int rank = static_cast<int>(part.global_shape.size());
    for (int i = 0; i < rank; ++i) global_[i] = local_[i] = part.global_shape[i];
    if (shard.dim >= 0) {
      local_[shard.dim] /= shard.parts;
      begin_[shard.dim] = local_[shard.dim] * shard.index;
    }
    // A vector is one row, a matrix has no outer dim.
    for (; shift_ < 3 - rank; ++shift_) {
      global_ = {1, global_[0], global_[1]};
      local_ = {1, local_[0], local_[1]};
      begin_ = {0, begin_[0], begin_[1]};
    }
  }

  std::int64_t rows() const { return local_[0] * local_[1]; }
  std::int64_t width() const { return local_[2]; }
  /// Row-major index in the global part of the row's first element.
  std::int64_t global_index(std::int64_t row) const {
    const std::int64_t a = row / local_[1] + begin_[0], b = row % local_[1] + begin_[1];
    return (a * global_[1] + b) * global_[2] + begin_[2];
  }
  /// Offset of the row's first element in a view of the local part.
  std::int64_t local_offset(const Tensor& view, std::int64_t row) const {
    const std::int64_t index[3] = {row / local_[1], row % local_[1], 0};
    std::int64_t offset = 0;
    for (int i = 0; i < view.rank; ++i) offset += index[i + shift_] * view.stride[i];
    return offset;
  }

 private:
  std::array<std::int64_t, 3> global_{1, 1, 1}, local_{1, 1, 1}, begin_{};
  int shift_ = 0;
};

/// Writes the initial values of one part into host memory laid out as the local parameter.
template <class Real>
void fill_part(const Part& part, std::uint64_t seed, Real* host) {
  const Param& param = *part.param;
  const Rng rng(seed, "init/" + part.name);
  Tensor view = param.master;
  view.data = host;
  view = part.view(view);
  const Init& init = param.spec.init;
  const PartRows rows(part, param.spec.shard);
#pragma omp parallel for
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    Real* out = view.as<Real>() + rows.local_offset(view, row);
    const std::int64_t first = rows.global_index(row);
    for (std::int64_t i = 0; i < rows.width(); ++i) {
      const double value = init.kind == Init::Kind::constant
                               ? init.value
                               : init.value * rng.normal(static_cast<std::uint64_t>(first + i));
      out[i] = static_cast<Real>(value);
    }
  }
}

}  // namespace

void ParamTable::initialise(std::uint64_t seed, const Stream& stream) {
  if (stream.device == Device::plan) return;
  std::vector<char> host;
  const std::vector<Part> all = parts();
  for (const Param& param : params_) {
    host.assign(param.master.bytes(), 0);
    for (const Part& part : all) {
      if (part.param != &param) continue;
      if (param.master.dtype == DType::f64) {
        fill_part(part, seed, reinterpret_cast<double*>(host.data()));
      } else {
        fill_part(part, seed, reinterpret_cast<float*>(host.data()));
      }
    }
    kernels::copy_to_device(param.master.data, host.data(), host.size(), stream);
    kernels::synchronise(stream);
  }
  refresh_weights(stream);
}

}  // namespace strait::core
