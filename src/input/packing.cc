#include "input/packing.h"

#include <limits>
#include <string>

#include "core/error.h"
#include "input/best_fit.h"
#include "input/windows.h"

namespace strait::input {

std::unique_ptr<Packing> make_packing(const TokenView& tokens, const PackingOptions& options) {
  constexpr std::int64_t kLongest = std::numeric_limits<std::int32_t>::max();
  if (options.seq_len < 1 || options.seq_len > kLongest) {
    throw core::InputError("data.seq_len: expected 1.." + std::to_string(kLongest) + ", got " +
                           std::to_string(options.seq_len));
  }
  if (options.kind == config::Packing::best_fit) {
    return std::make_unique<BestFit>(tokens, options);
  }
  return std::make_unique<Windows>(tokens, options);
}

}  // namespace strait::input
