#pragma once

#include <filesystem>

#include "core/log.h"
#include "train/plan.h"

namespace strait::train {

/// Chooses algorithms for the plan's matrix products by measurement on this machine's GPU and
/// writes the device's table into `folder`; rows for other shapes stay. The table is built into the
/// programs, so it counts from the next build on.
/// Throws InputError when there is no GPU or no such folder.
void tune_products(const StepPlan& plan, const std::filesystem::path& folder, core::Log& log);

}  // namespace strait::train
