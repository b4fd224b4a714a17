#pragma once

#include "train/data.h"
#include "train/metrics.h"

namespace strait::train {

/// All that a config's eval section asks for: losses on the validation datasets, tasks. Collective
/// over the mesh; rank 0's metrics hold the results. Returns those of the tasks.
std::vector<ChoiceResult> evaluate_all(Engine& engine, const Data& data, std::int64_t step,
                                       Metrics& metrics);

}  // namespace strait::train
