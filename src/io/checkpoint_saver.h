#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/checkpoint.h"
#include "io/held.h"
#include "kernels/async.h"
#include "parallel/communicator.h"

namespace strait::io {

/// Which checkpoints stay: the newest `last`, and all of steps that are multiples of `every`.
struct KeepRule {
  std::int64_t last = 0;   // 0: all
  std::int64_t every = 0;  // 0: none beside the newest
};

/// What became of a save. Every rank knows the same.
struct SaveOutcome {
  std::int64_t step = 0;
  std::filesystem::path folder;  // of the checkpoint, also when it failed
  std::string failure;           // empty: it is there
  std::string left;              // why old checkpoints could not be removed; of the save before
};

/// Writes checkpoints while training goes on: begin() copies what this rank is to write to host
/// memory, a thread writes it, and a later call publishes the folder once all ranks have written.
/// Tensors that several ranks hold are divided among them. Old checkpoints are removed in a thread,
/// too: to give gigabytes back takes a disk seconds. Every method is collective over `world` but
/// written(), and the threads of a rank never communicate. Borrows everything.
class CheckpointSaver {
 public:
  CheckpointSaver(std::filesystem::path checkpoints, const core::ParamTable& table,
                  parallel::Communicator& world, const KeepRule& keep, const Stream& stream);
  /// Waits for the threads; what was not published is left for the next save to clear away.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  bool busy() const { return state_.has_value(); }
  /// Whether this rank's thread is done, or there is none.
  bool written() const;

  /// Takes the host memory of snapshots now, which for gigabytes is no matter of milliseconds.
  void reserve();
  /// Takes a snapshot and starts to write it. Not while busy.
  void begin(const CheckpointState& state);
  /// Waits for all ranks' threads and publishes, or says why not: the checkpoints already there
  /// stay. Only while busy.
  SaveOutcome finish();
  /// begin and finish. Throws RuntimeFault when it fails.
  std::filesystem::path save(const CheckpointState& state);

 private:
  struct Item {
    Held held;
    std::size_t at = 0;  // in the snapshot
  };
  void assign_items();
  void take_snapshot();
  void write();
  void write_file(const std::string& name, const std::vector<Item>& items);
  std::filesystem::path temporary() const;
  std::filesystem::path final_path() const;
  void publish(const std::vector<std::string>& parts) const;
  void prune(const std::filesystem::path& published);
  void wait_for_pruner();

  std::filesystem::path checkpoints_;
  const core::ParamTable& table_;
  parallel::Communicator& world_;
  KeepRule keep_;
  Stream stream_;
  std::vector<Item> weights_, states_;
  std::size_t bytes_ = 0;
  std::optional<kernels::HostBuffer> snapshot_;
  std::optional<CheckpointState> state_;  // of the save under way
  std::thread thread_;
  std::atomic<bool> done_ = false;  // the thread has nothing left to do
  std::string failure_;             // of this rank
  Manifest part_;                   // what this rank wrote
  std::thread pruner_;              // of rank 0
  std::string left_;                // why it failed
};

}  // namespace strait::io
