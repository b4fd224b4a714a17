#include "parallel/communicator.h"

#include "core/error.h"
#include "core/exit_code.h"
#include "kernels/memory.h"
#include "kernels/profile.h"

namespace strait::parallel {
namespace {

/// The base of groups that move nothing.
class Still : public Communicator {
 public:
  using Communicator::Communicator;
  std::string broadcast(const std::string& text, int) override { return text; }
  void barrier() override {}
  bool capturable() const override { return true; }

  void sum(const Tensor&, const Stream&) override { refuse(); }
  void gather(ConstTensor, const Tensor&, const Stream&) override { refuse(); }
  void scatter_sum(const Tensor&, const Tensor&, const Stream&) override { refuse(); }
  void sum_owned(std::span<const Owned>, const Stream&) override { refuse(); }
  void share_owned(std::span<const Owned>, const Stream&) override { refuse(); }
  void deliver(std::span<const Message>, std::span<const Message>, const Stream&) override {
    refuse();
  }

 private:
  [[noreturn]] static void refuse() {
    throw core::RuntimeFault("a planned group of ranks cannot communicate; start them with mpirun");
  }
};

class SingleCommunicator final : public Still {
 public:
  SingleCommunicator() : Still(std::make_shared<Traffic>()) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::vector<std::string> gather_all(const std::string& text) override { return {text}; }
  std::unique_ptr<Communicator> split(int) override { return make_single(); }
};

class PlannedCommunicator final : public Still {
 public:
  PlannedCommunicator(int rank, int size, std::shared_ptr<Traffic> traffic)
      : Still(std::move(traffic)), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::vector<std::string> gather_all(const std::string& text) override {
    return std::vector<std::string>(static_cast<std::size_t>(size_), text);
  }
  std::unique_ptr<Communicator> split(int) override {
    throw core::RuntimeFault("a planned group of ranks cannot be split");
  }

 private:
  int rank_, size_;
};

std::int64_t bytes_of(const ConstTensor& x) {
  return static_cast<std::int64_t>(x.bytes());
}

/// Of the pieces that `rank` keeps, or of the others.
std::int64_t bytes_of(std::span<const Owned> pieces, int rank, bool own) {
  std::int64_t bytes = 0;
  for (const Owned& piece : pieces) {
    if ((piece.owner == rank) == own) bytes += bytes_of(piece.data);
  }
  return bytes;
}

/// Elements [n r / size, n (r + 1) / size) are summed by rank r.
std::int64_t slice_begin(std::int64_t n, int rank, int size) {
  return n * rank / size;
}

/// Counts a collective from its start to its end.
class Counted {
 public:
  Counted(Traffic& traffic, const char* what, std::int64_t bytes)
      : traffic_(traffic), range_(what) {
    traffic_.enter(what, bytes);
  }
  ~Counted() { traffic_.leave(); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  /// Moves what there is to move, by the clock.
  template <class Move>
  void run(const Stream& stream, const Move& move) {
    if (stream.device == Device::plan) return;
    traffic_.clock().enter(stream);
    move();
    traffic_.clock().leave(stream);
  }

 private:
  Traffic& traffic_;
  kernels::Range range_;
};

}  // namespace

template <class Move>
void Communicator::around(const Stream& stream, const char* what, std::int64_t bytes,
                          const Move& move) {
  links_.ring |= stream.device == Device::plan;
  Counted(*traffic_, what, bytes).run(stream, move);
}

void Communicator::all_reduce_sum(const Tensor& x, const Stream& stream, const char* what) {
  if (alone()) return;
  // Each rank sends the slices of the others, and its own summed slice to each of them.
  const std::int64_t n = x.numel();
  const std::int64_t own = slice_begin(n, rank() + 1, size()) - slice_begin(n, rank(), size());
  const auto element = static_cast<std::int64_t>(kernels::size_of(x.dtype));
  around(stream, what, (n - own + own * (size() - 1)) * element, [&] { sum(x, stream); });
}

void Communicator::all_gather(ConstTensor part, const Tensor& whole, const Stream& stream,
                              const char* what) {
  if (alone()) return kernels::copy_on_device(whole.data, part.data, part.bytes(), stream);
  around(stream, what, bytes_of(part) * (size() - 1), [&] { gather(part, whole, stream); });
}

void Communicator::reduce_scatter_sum(const Tensor& whole, const Tensor& part, const Stream& stream,
                                      const char* what) {
  if (alone()) return kernels::copy_on_device(part.data, whole.data, part.bytes(), stream);
  around(stream, what, bytes_of(part) * (size() - 1), [&] { scatter_sum(whole, part, stream); });
}

void Communicator::sum_to_owners(std::span<const Owned> pieces, const Stream& stream,
                                 const char* what) {
  if (alone() || pieces.empty()) return;
  around(stream, what, bytes_of(pieces, rank(), false), [&] { sum_owned(pieces, stream); });
}

void Communicator::share_from_owners(std::span<const Owned> pieces, const Stream& stream,
                                     const char* what) {
  if (alone() || pieces.empty()) return;
  around(stream, what, bytes_of(pieces, rank(), true) * (size() - 1),
         [&] { share_owned(pieces, stream); });
}

void Communicator::exchange(std::span<const Message> sends, std::span<const Message> receives,
                            const Stream& stream, const char* what) {
  std::int64_t bytes = 0;
  for (const Message& message : sends) {
    if (message.peer == rank()) continue;
    bytes += bytes_of(message.data);
    if (stream.device == Device::plan) links_.sends.insert(message.peer);
  }
  for (const Message& message : receives) {
    if (message.peer == rank() || stream.device != Device::plan) continue;
    links_.receives.insert(message.peer);
  }
  Counted(*traffic_, what, bytes).run(stream, [&] { deliver(sends, receives, stream); });
}

void Communicator::count(const char* what, std::int64_t bytes) {
  traffic_->enter(what, bytes);
  traffic_->leave();
}

std::unique_ptr<Communicator> make_single() {
  return std::make_unique<SingleCommunicator>();
}

std::unique_ptr<Communicator> make_planned(int rank, int size, std::shared_ptr<Traffic> traffic) {
  return std::make_unique<PlannedCommunicator>(rank, size, std::move(traffic));
}

void together(Communicator& group, const std::function<void()>& work) {
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  const int code = error ? core::exit_code_of(error) : core::kOk;
  const std::vector<std::string> codes = group.gather_all(std::to_string(code));
  for (int rank = 0; rank < group.size(); ++rank) {
    if (codes[rank] == "0") continue;
    throw AgreedFailure{std::stoi(codes[rank]), rank == group.rank() ? error : nullptr};
  }
}

}  // namespace strait::parallel
