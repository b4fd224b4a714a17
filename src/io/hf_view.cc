#include "io/hf_view.h"

namespace strait::io {

std::int64_t HfView::elements() const {
  std::int64_t n = 1;
  for (const Dim& dim : dims) n *= dim.size;
  return n;
}

std::vector<std::int64_t> HfView::indices() const {
  std::vector<std::int64_t> all{offset};
  for (const Dim& dim : dims) {
    std::vector<std::int64_t> longer;
    longer.reserve(all.size() * static_cast<std::size_t>(dim.size));
    for (const std::int64_t begin : all) {
      for (std::int64_t i = 0; i < dim.size; ++i) longer.push_back(begin + i * dim.stride);
    }
    all = std::move(longer);
  }
  return all;
}

}  // namespace strait::io
