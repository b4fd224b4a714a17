#include "tests/golden/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace strait::golden {

void Comparison::add(const std::string& name, const std::vector<double>& got,
                     const std::vector<double>& want) {
  if (got.size() != want.size()) {
    throw core::InputError("the reference's " + name + " has " + std::to_string(want.size()) +
                           " elements, the computed one " + std::to_string(got.size()));
  }
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  if (std::isnan(difference)) difference = std::numeric_limits<double>::infinity();
  entries_.push_back({name, std::sqrt(difference), std::sqrt(norm)});
}

Worst Comparison::worst() const {
  double largest = 0;
  for (const Entry& entry : entries_) largest = std::max(largest, entry.norm);
  Worst worst;
  for (const Entry& entry : entries_) {
    const double scale = entry.norm >= resolution_ * largest ? entry.norm : largest;
    const double error = entry.difference == 0 ? 0 : entry.difference / scale;
    if (error >= worst.error) worst = {error, entry.name};
  }
  return worst;
}

}  // namespace strait::golden
