#include "io/checkpoint_saver.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "io/checkpoint_folder.h"
#include "io/part_copy.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kAlign = 64;

std::string rank_file(const char* what, int rank) {
  char name[64];
  std::snprintf(name, sizeof name, "%s.rank_%05d.safetensors", what, rank);
  return name;
}

/// One line that is equal on ranks that hold the same piece.
std::string line_of(const Held& held) {
  std::ostringstream line;
  line << held.name;
  for (const std::int64_t at : held.piece.offset) line << ' ' << at;
  line << ' ' << held.piece.begin << ' ' << held.piece.end;
  return line.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// For every piece that any rank holds, the rank that writes it: of its holders the one with the
/// fewest bytes so far, the lowest of equals. Every rank computes the same.
std::map<std::string, int> writers_of(const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<int>> holders;
  std::map<std::string, std::int64_t> bytes;
  std::vector<std::string> order;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    for (const std::string& line : lines_of(texts[rank])) {
      const std::size_t space = line.find(' ');
      const std::string key = line.substr(space + 1);
      if (holders[key].empty()) order.push_back(key);
      holders[key].push_back(static_cast<int>(rank));
      bytes[key] = std::stoll(line.substr(0, space));
    }
  }
  std::vector<std::int64_t> load(texts.size(), 0);
  std::map<std::string, int> writers;
  for (const std::string& key : order) {
    const auto lighter = [&](int a, int b) {
      return load[static_cast<std::size_t>(a)] < load[static_cast<std::size_t>(b)];
    };
    const int rank = *std::ranges::min_element(holders[key], lighter);
    writers[key] = rank;
    load[static_cast<std::size_t>(rank)] += bytes[key];
  }
  return writers;
}

std::string failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  }
}

}  // namespace

CheckpointSaver::CheckpointSaver(fs::path checkpoints, const core::ParamTable& table,
                                 parallel::Communicator& world, const KeepRule& keep,
                                 const Stream& stream)
    : checkpoints_(std::move(checkpoints)),
      table_(table),
      world_(world),
      keep_(keep),
      stream_(stream) {
  assign_items();
}

CheckpointSaver::~CheckpointSaver() {
  if (thread_.joinable()) thread_.join();
  wait_for_pruner();
}

void CheckpointSaver::assign_items() {
  std::ostringstream text;
  const std::vector<Held> weights = owned_weights(table_), states = held_states(table_);
  for (const std::vector<Held>* list : {&weights, &states}) {
    for (const Held& held : *list) {
      text << held.view.bytes() << ' ' << line_of(held) << '\n';
    }
  }
  const std::map<std::string, int> writers = writers_of(world_.gather_all(text.str()));
  const auto take = [&](const std::vector<Held>& list, std::vector<Item>& items) {
    for (const Held& held : list) {
      if (held.piece.elements() == 0 || writers.at(line_of(held)) != world_.rank()) continue;
      items.push_back({held, bytes_});
      bytes_ += (held.view.bytes() + kAlign - 1) / kAlign * kAlign;
    }
  };
  take(weights, weights_);
  take(states, states_);
}

bool CheckpointSaver::written() const {
  return !thread_.joinable() || done_.load();
}

fs::path CheckpointSaver::final_path() const {
  return checkpoints_ / step_folder_name(state_->step);
}

fs::path CheckpointSaver::temporary() const {
  return temporary_step_folder(checkpoints_, state_->step);
}

void CheckpointSaver::reserve() {
  if (!snapshot_) snapshot_.emplace(stream_.device, std::max<std::size_t>(bytes_, 1));
}

void CheckpointSaver::take_snapshot() {
  reserve();
  for (const std::vector<Item>* items : {&weights_, &states_}) {
    for (const Item& item : *items) {
      enqueue_view_to_host(item.held.view, snapshot_->as<std::byte>() + item.at, stream_);
    }
  }
  kernels::synchronise(stream_);
}

void CheckpointSaver::begin(const CheckpointState& state) {
  wait_for_pruner();  // it would take the new temporary folder for a leftover
  state_ = state;
  failure_.clear();
  part_ = {};
  done_ = false;
  std::string failed;
  if (world_.rank() == 0) {
    try {
      fs::remove_all(temporary());
      fs::create_directories(temporary());
    } catch (const std::exception& error) {
      failed = error.what();
    }
  }
  failure_ = world_.broadcast(failed, 0);
  if (failure_.empty()) {
    take_snapshot();
    thread_ = std::thread([this] { write(); });
  }
}

void CheckpointSaver::write() {
  try {
    write_file(rank_file("model", world_.rank()), weights_);
    write_file(rank_file("optimizer", world_.rank()), states_);
  } catch (...) {
    failure_ = failure_of(std::current_exception());
  }
  done_ = true;
}

void CheckpointSaver::write_file(const std::string& name, const std::vector<Item>& items) {
  if (items.empty()) return;
  std::vector<TensorSource> sources;
  for (const Item& item : items) {
    const Held& held = item.held;
    const bool whole = held.piece == whole_piece(held.shape);
    const std::span<const std::byte> bytes(snapshot_->as<std::byte>() + item.at, held.view.bytes());
    StoredTensor& stored = part_.tensors[held.name];
    std::ostringstream key;
    key << held.name;
    if (!whole) key << '@' << world_.rank() << '.' << stored.pieces.size();
    stored.dtype = safetensors_dtype(held.view.dtype);
    sources.push_back({key.str(), stored.dtype, shape_of(held.view), [bytes] { return bytes; }});
    stored.shape = held.shape;
    stored.pieces.push_back({name, key.str(), held.piece});
  }
  const fs::path path = temporary() / name;
  write_safetensors(path, std::move(sources), {{"format", "strait"}});
  part_.files[name] = {static_cast<std::int64_t>(fs::file_size(path)),
                       core::hash_text(core::hash_of_file(path))};
}

void CheckpointSaver::publish(const std::vector<std::string>& parts) const {
  Manifest manifest;
  manifest.state = *state_;
  for (const std::string& part : parts) merge_part(manifest, part);
  core::write_file_atomically(temporary() / kManifestFile,
                              [&](std::ostream& out) { out << manifest_text(manifest); });
  publish_step_folder(checkpoints_, state_->step);
}

void CheckpointSaver::prune(const fs::path& published) {
  const auto complete = [](const fs::path& path) {
    try {
      read_manifest(path);
      return true;
    } catch (const core::InputError&) {
      return false;
    }
  };
  try {
    prune_step_folders(checkpoints_, keep_.last, keep_.every, published, complete);
  } catch (...) {
    left_ = failure_of(std::current_exception());
  }
}

void CheckpointSaver::wait_for_pruner() {
  if (pruner_.joinable()) pruner_.join();
}

SaveOutcome CheckpointSaver::finish() {
  if (thread_.joinable()) thread_.join();
  wait_for_pruner();
  SaveOutcome outcome{.step = state_->step,
                      .folder = final_path(),
                      .failure = "",
                      .left = std::exchange(left_, "")};
  // "!" and why not, or "=" and what this rank wrote.
  const std::vector<std::string> parts =
      world_.gather_all(failure_.empty() ? std::string("=").append(manifest_part(part_))
                                         : std::string("!").append(failure_));
  std::vector<std::string> written;
  for (const std::string& part : parts) {
    if (part[0] == '!' && outcome.failure.empty()) outcome.failure = part.substr(1);
    written.push_back(part.substr(1));
  }
  if (outcome.failure.empty() && world_.rank() == 0) {
    try {
      publish(written);
      pruner_ = std::thread([this, published = outcome.folder] { prune(published); });
    } catch (const std::exception& error) {
      outcome.failure = error.what();
    }
  }
  outcome.failure = world_.broadcast(outcome.failure, 0);
  if (!outcome.failure.empty() && world_.rank() == 0) {
    std::error_code ignored;  // a full disk needs the room
    fs::remove_all(temporary(), ignored);
  }
  state_.reset();
  return outcome;
}

fs::path CheckpointSaver::save(const CheckpointState& state) {
  begin(state);
  const SaveOutcome outcome = finish();
  wait_for_pruner();
  if (outcome.failure.empty()) return outcome.folder;
  throw core::RuntimeFault(outcome.folder.string() + ": cannot save: " + outcome.failure);
}

}  // namespace strait::io
