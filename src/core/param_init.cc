#include <array>

#include "core/param_table.h"
#include "core/rng.h"
#include "kernels/memory.h"

// Initial values of parameters.
namespace strait::core {
namespace {

/// Global index of every local one, dim by dim; a part of fewer dims has leading dims of one.
class GlobalIndices {
 public:
  explicit GlobalIndices(const Part& part) {
    const int rank = static_cast<int>(part.global_shape.size()), shift = 3 - rank;
    for (int dim = 0; dim < 3; ++dim) {
      extent_[dim] = dim < shift ? 1 : part.global_shape[dim - shift];
      if (dim - shift != part.cut_dim) {
        add({0, 0, extent_[dim]}, dim);
        continue;
      }
      for (const Run& run : part.runs) add(run, dim);
    }
  }

  std::int64_t size(int dim) const { return static_cast<std::int64_t>(index_[dim].size()); }
  /// Row-major index in the whole part.
  std::uint64_t operator()(std::int64_t i, std::int64_t j, std::int64_t k) const {
    const std::int64_t row = index_[0][i] * extent_[1] + index_[1][j];
    return static_cast<std::uint64_t>(row * extent_[2] + index_[2][k]);
  }

 private:
  void add(const Run& run, int dim) {
    for (std::int64_t i = 0; i < run.size; ++i) index_[dim].push_back(run.global + i);
  }
  std::array<std::int64_t, 3> extent_{};
  std::array<std::vector<std::int64_t>, 3> index_;
};

/// Writes the initial values of one part into host memory laid out as the local parameter.
template <class Real>
void fill_part(const Part& part, std::uint64_t seed, Real* host) {
  const Rng rng(seed, "init/" + part.name);
  Tensor view = part.param->master;
  view.data = host;
  view = part.view(view);
  const Init& init = part.param->spec.init;
  const GlobalIndices global(part);
  const std::int64_t inner = global.size(1), rows = global.size(0) * inner;
  const std::int64_t outer_stride = view.rank == 3 ? view.stride[0] : 0;
  const std::int64_t inner_stride = view.rank >= 2 ? view.stride[view.rank - 2] : 0;
#pragma omp parallel for
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t i = row / inner, j = row % inner;
    Real* out = view.as<Real>() + i * outer_stride + j * inner_stride;
    for (std::int64_t k = 0; k < global.size(2); ++k) {
      const double value =
          init.kind == Init::Kind::constant ? init.value : init.value * rng.normal(global(i, j, k));
      out[k] = static_cast<Real>(value);
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
