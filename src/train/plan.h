#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/gemm.h"
#include "train/engine.h"

namespace strait::train {

struct MemoryItem {
  std::string category;  // "weights", "activations", "communication", ...
  std::size_t bytes = 0;
};

/// Launches of one op kind in a step.
struct OpCount {
  std::int64_t launches = 0;
  kernels::Work work;
};

/// What a training step takes, found by running it without arithmetic.
struct StepPlan {
  std::vector<MemoryItem> memory;
  std::map<std::string, OpCount> ops;
  std::size_t workspace = 0;                      // of launches on a GPU; 0 on the cpu
  std::map<std::string, double> bytes_sent = {};  // to other ranks, by boundary
  std::vector<kernels::Gemm> products = {};  // every matrix product; the addresses mean nothing
  std::size_t total_bytes() const;
};

/// Counts launches and work by op kind while attached to a stream.
class WorkCounter final : public kernels::LaunchObserver {
 public:
  void on_launch(const char* op, const kernels::Work& work) override;
  void on_product(const kernels::Gemm& op) override { products_.push_back(op); }
  const std::map<std::string, OpCount>& ops() const { return ops_; }
  const std::vector<kernels::Gemm>& products() const { return products_; }
  /// Of the launch that takes most, see kernels::Work.
  std::size_t workspace() const { return workspace_; }

 private:
  std::map<std::string, OpCount> ops_;
  std::vector<kernels::Gemm> products_;
  std::size_t workspace_ = 0;
};

/// Whether the run would be on a GPU, wherever it is planned; its ranks then have one each.
bool on_gpu(const config::Config& config);

/// Dry-runs one training step, one evaluation batch and one sampled token on a planning engine; the
/// arenas learn their sizes. Touches no device.
StepPlan plan_step(Engine& engine);

/// "weights 1.2 GiB" a line, and the total.
std::string memory_table(const StepPlan& plan);

/// 1536 -> "1.5 KiB".
std::string human_bytes(double bytes);

}  // namespace strait::train
