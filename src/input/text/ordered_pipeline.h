#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace strait::input {

/// Runs `work` on what `produce` gives, in `threads` threads, and hands the results to `consume` in
/// the order of their making. `produce` runs in a thread of its own until it gives nothing,
/// `consume` in the caller's. At most 2 threads + 2 pieces are under way. The first exception of
/// any of them stops all and is thrown here.
template <class In, class Out>
class OrderedPipeline {
 public:
  OrderedPipeline(int threads, std::function<std::optional<In>()> produce,
                  std::function<Out(In)> work)
      : limit_(2 * threads + 2), produce_(std::move(produce)), work_(std::move(work)) {
    threads_.emplace_back([this] { guarded([this] { produce_all(); }); });
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { guarded([this] { work_all(); }); });
    }
  }
  ~OrderedPipeline() {
    stop();
    for (std::thread& thread : threads_) thread.join();
  }
  OrderedPipeline(const OrderedPipeline&) = delete;
  OrderedPipeline& operator=(const OrderedPipeline&) = delete;

  /// The next result in order; nothing after the last one.
  std::optional<Out> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return error_ || done_.contains(taken_) || (finished_ && taken_ == produced_);
    });
    if (error_) std::rethrow_exception(error_);
    const auto found = done_.find(taken_);
    if (found == done_.end()) return std::nullopt;
    std::optional<Out> out(std::move(found->second));
    done_.erase(found);
    ++taken_;
    changed_.notify_all();
    return out;
  }

 private:
  void guarded(const std::function<void()>& body) {
    try {
      body();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      stopped_ = true;
      changed_.notify_all();
    }
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  void produce_all() {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopped_ || produced_ - taken_ < limit_; });
        if (stopped_) return;
      }
      std::optional<In> piece = produce_();
      const std::lock_guard lock(mutex_);
      changed_.notify_all();
      if (!piece) {
        finished_ = true;
        return;
      }
      waiting_.emplace(produced_++, std::move(*piece));
    }
  }

  void work_all() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopped_ || finished_ || !waiting_.empty(); });
      if (stopped_ || waiting_.empty()) return;
      auto node = waiting_.extract(waiting_.begin());
      lock.unlock();
      Out out = work_(std::move(node.mapped()));
      lock.lock();
      done_.emplace(node.key(), std::move(out));
      changed_.notify_all();
    }
  }

  const std::int64_t limit_;
  std::function<std::optional<In>()> produce_;
  std::function<Out(In)> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, In> waiting_;
  std::map<std::int64_t, Out> done_;
  std::int64_t produced_ = 0, taken_ = 0;
  bool finished_ = false, stopped_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace strait::input
