#include "parallel/comm_mpi.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "kernels/async.h"
#include "kernels/bf16.h"
#include "parallel/sum_rounds.h"

namespace strait::parallel {
namespace {

// Bytes of one MPI message, whose count is an int.
constexpr std::size_t kMessage = std::size_t{1} << 30;

/// The first of `count` terms, [terms, count], becomes their sum, in order.
template <class T>
void add_terms(T* terms, std::int64_t terms_count, std::int64_t count) {
  for (std::int64_t r = 1; r < terms_count; ++r) {
    for (std::int64_t i = 0; i < count; ++i) terms[i] += terms[r * count + i];
  }
}
/// bf16, added up in float.
template <>
void add_terms(std::uint16_t* terms, std::int64_t terms_count, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    float sum = kernels::float_of_bf16(terms[i]);
    for (std::int64_t r = 1; r < terms_count; ++r) {
      sum += kernels::float_of_bf16(terms[r * count + i]);
    }
    terms[i] = kernels::bf16_of(sum);
  }
}

void add_terms(void* terms, std::int64_t terms_count, std::int64_t count, DType dtype) {
  switch (dtype) {
    case DType::f64:
      return add_terms(static_cast<double*>(terms), terms_count, count);
    case DType::f32:
      return add_terms(static_cast<float*>(terms), terms_count, count);
    case DType::i64:
      return add_terms(static_cast<std::int64_t*>(terms), terms_count, count);
    case DType::bf16:
      return add_terms(static_cast<std::uint16_t*>(terms), terms_count, count);
    default:
      throw core::RuntimeFault(std::string("sum over ranks: no such sum for dtype ") +
                               name_of(dtype));
  }
}

/// Bytes on the host for one peer, or from one.
struct Bytes {
  int peer;
  char* data;
  std::size_t size;
};

Bytes bytes_of(int peer, const Tensor& x) {
  return {peer, static_cast<char*>(x.data), x.bytes()};
}

std::vector<Bytes> bytes_of(std::span<const Message> messages, const std::vector<Tensor>& host) {
  std::vector<Bytes> out;
  for (std::size_t i = 0; i < host.size(); ++i) {
    out.push_back(bytes_of(messages[i].peer, host[i]));
  }
  return out;
}

/// Moves bytes within this rank. A rank may own none of a short tensor: then neither address
/// counts, and memmove must not get a null one.
void move_own(void* to, const void* from, std::size_t size) {
  if (size > 0) std::memmove(to, from, size);
}

/// Tensors of the cpu lie in host memory; those of a GPU pass through a copy there, so that ranks
/// that share a GPU can meet.
class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, bool owned, std::shared_ptr<Traffic> traffic)
      : Communicator(std::move(traffic)), comm_(comm), owned_(owned) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override {
    if (owned_) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::string broadcast(const std::string& text, int root) override {
    std::int64_t length = static_cast<std::int64_t>(text.size());
    MPI_Bcast(&length, 1, MPI_INT64_T, root, comm_);
    std::string out = text;
    out.resize(static_cast<std::size_t>(length));
    MPI_Bcast(out.data(), static_cast<int>(length), MPI_CHAR, root, comm_);
    return out;
  }

  std::vector<std::string> gather_all(const std::string& text) override {
    std::vector<std::string> out(static_cast<std::size_t>(size_));
    for (int root = 0; root < size_; ++root) out[root] = broadcast(root == rank_ ? text : "", root);
    return out;
  }

  void barrier() override { MPI_Barrier(comm_); }
  bool capturable() const override { return false; }

  std::unique_ptr<Communicator> split(int color) override {
    MPI_Comm part;
    MPI_Comm_split(comm_, color, rank_, &part);
    return std::make_unique<MpiCommunicator>(part, true, shared_traffic());
  }

  void sum(const Tensor& x, const Stream& stream) override {
    const Tensor host = to_host(x, stream);
    const std::int64_t n = x.numel();
    for (std::int64_t begin = 0; begin < n; begin += kSumBlock * size_) {
      sum_block(host, begin, std::min(kSumBlock * size_, n - begin));
    }
    to_device(host, x, stream);
  }

  void gather(ConstTensor part, const Tensor& whole, const Stream& stream) override {
    Tensor target = whole;
    if (stream.device == Device::cuda) target.data = stage(whole.bytes());
    const std::int64_t n = part.numel();
    const auto slice = [&](int r) { return fragment_of(target, n * r, n); };
    void* own = slice(rank_).data;
    if (own != part.data) kernels::copy_to_host(own, part.data, part.bytes(), stream);
    if (stream.device == Device::cuda) kernels::synchronise(stream);
    gather_slices(slice);
    to_device(target, whole, stream);
  }

  void scatter_sum(const Tensor& whole, const Tensor& part, const Stream& stream) override {
    const Tensor host = to_host(whole, stream);
    const std::int64_t n = part.numel();
    for (std::int64_t begin = 0; begin < n; begin += kSumBlock) {
      const Tensor target = fragment_of(part, begin, std::min(kSumBlock, n - begin));
      const char* total = sum_terms(
          [&](int r) { return std::vector{fragment_of(host, n * r + begin, target.numel())}; });
      kernels::copy_to_device(target.data, total, target.bytes(), stream);
      if (stream.device == Device::cuda) kernels::synchronise(stream);
    }
  }

  void sum_owned(std::span<const Owned> pieces, const Stream& stream) override {
    const std::vector<Owned> host = to_host(pieces, stream);
    SumRounds rounds(host, size_);
    while (rounds.next()) sum_round(rounds);
    for (std::size_t i = 0; i < host.size(); ++i) {
      if (host[i].owner == rank_) to_device(host[i].data, pieces[i].data, stream);
    }
  }

  void share_owned(std::span<const Owned> pieces, const Stream& stream) override {
    const std::vector<Owned> host = to_host(pieces, stream);
    std::vector<Bytes> sends, receives;
    for (const Owned& piece : host) {
      if (piece.owner != rank_) receives.push_back(bytes_of(piece.owner, piece.data));
      for (int r = 0; r < size_ && piece.owner == rank_; ++r) {
        if (r != rank_) sends.push_back(bytes_of(r, piece.data));
      }
    }
    move(sends, receives);
    for (std::size_t i = 0; i < host.size(); ++i) {
      if (host[i].owner != rank_) to_device(host[i].data, pieces[i].data, stream);
    }
  }

  void deliver(std::span<const Message> sends, std::span<const Message> receives,
               const Stream& stream) override {
    std::vector<Tensor> out, in;
    std::size_t used = 0;
    const auto place = [&](const Message& message) {
      Tensor host = message.data;
      if (stream.device != Device::cuda) return host;
      host.data = reinterpret_cast<void*>(used);
      used += aligned(host.bytes());
      return host;
    };
    for (const Message& message : sends) out.push_back(place(message));
    for (const Message& message : receives) in.push_back(place(message));
    if (stream.device == Device::cuda) {
      char* base = stage(used);
      for (auto* list : {&out, &in}) {
        for (Tensor& host : *list) host.data = base + reinterpret_cast<std::size_t>(host.data);
      }
      for (std::size_t i = 0; i < out.size(); ++i) {
        kernels::copy_to_host(out[i].data, sends[i].data.data, out[i].bytes(), stream);
      }
      kernels::synchronise(stream);
    }
    move(bytes_of(sends, out), bytes_of(receives, in));
    for (std::size_t i = 0; i < in.size(); ++i) to_device(in[i], receives[i].data, stream);
  }

 private:
  static std::size_t aligned(std::size_t size) { return (size + 63) / 64 * 64; }

  char* stage(std::size_t size) {
    if (!host_ || host_->bytes() < size) {
      host_.reset();
      host_ = std::make_unique<kernels::HostBuffer>(Device::cuda, size);
    }
    return host_->as<char>();
  }

  /// A tensor's values in host memory: itself on the cpu.
  Tensor to_host(const Tensor& x, const Stream& stream) {
    if (stream.device != Device::cuda) return x;
    Tensor host = x;
    host.data = stage(x.bytes());
    kernels::copy_to_host(host.data, x.data, x.bytes(), stream);
    kernels::synchronise(stream);
    return host;
  }

  void to_device(const Tensor& host, const Tensor& x, const Stream& stream) {
    if (host.data == x.data) return;
    kernels::copy_to_device(x.data, host.data, x.bytes(), stream);
    kernels::synchronise(stream);
  }

  /// The same for pieces of one list, side by side in the copy.
  std::vector<Owned> to_host(std::span<const Owned> pieces, const Stream& stream) {
    std::vector<Owned> host(pieces.begin(), pieces.end());
    if (stream.device != Device::cuda) return host;
    std::size_t used = 0;
    for (const Owned& piece : pieces) used += aligned(piece.data.bytes());
    char* next = stage(used);
    for (std::size_t i = 0; i < host.size(); ++i) {
      host[i].data.data = next;
      next += aligned(pieces[i].data.bytes());
      kernels::copy_to_host(host[i].data.data, pieces[i].data.data, pieces[i].data.bytes(), stream);
    }
    kernels::synchronise(stream);
    return host;
  }

  /// The sum over ranks, in rank order, of what this rank sums, in the workspace. terms(r) is this
  /// rank's term of what rank r sums, as fragments of one dtype.
  template <class Terms>
  const char* sum_terms(const Terms& terms) {
    std::int64_t own = 0;
    DType dtype = DType::f32;
    for (const Tensor& fragment : terms(rank_)) {
      own += fragment.numel();
      dtype = fragment.dtype;
    }
    const std::size_t each = static_cast<std::size_t>(own) * kernels::size_of(dtype);
    if (workspace_.size() < each * size_) workspace_.resize(each * size_);
    std::vector<Bytes> sends, receives;
    for (int r = 0; r < size_; ++r) {
      char* term = workspace_.data() + each * static_cast<std::size_t>(r);
      for (const Tensor& fragment : terms(rank_)) {
        receives.push_back({r, term, fragment.bytes()});
        term += fragment.bytes();
      }
      for (const Tensor& fragment : terms(r)) sends.push_back(bytes_of(r, fragment));
    }
    move(sends, receives);
    add_terms(workspace_.data(), size_, own, dtype);
    return workspace_.data();
  }

  /// Adds up this round's own fragments.
  void sum_round(const SumRounds& rounds) {
    const char* sum = sum_terms([&](int r) -> const std::vector<Tensor>& { return rounds.of(r); });
    for (const Tensor& fragment : rounds.of(rank_)) {
      move_own(fragment.data, sum, fragment.bytes());
      sum += fragment.bytes();
    }
  }

  /// Messages between two ranks keep their order; those to itself are copied.
  void move(std::vector<Bytes> sends, std::vector<Bytes> receives) {
    std::vector<MPI_Request> requests;
    std::vector<const Bytes*> own;
    const auto post = [&](const Bytes& message, bool send) {
      for (std::size_t begin = 0; begin < message.size; begin += kMessage) {
        const int count = static_cast<int>(std::min(kMessage, message.size - begin));
        MPI_Request& request = requests.emplace_back();
        if (send) {
          MPI_Isend(message.data + begin, count, MPI_BYTE, message.peer, 0, comm_, &request);
        } else {
          MPI_Irecv(message.data + begin, count, MPI_BYTE, message.peer, 0, comm_, &request);
        }
      }
    };
    for (const Bytes& message : receives) {
      if (message.peer != rank_) post(message, false);
    }
    for (const Bytes& message : sends) {
      if (message.peer != rank_) post(message, true);
      if (message.peer == rank_) own.push_back(&message);
    }
    auto next = own.begin();
    for (const Bytes& message : receives) {
      if (message.peer != rank_) continue;
      move_own(message.data, (*next)->data, message.size);
      ++next;
    }
    MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  }

  /// Each rank owns one slice of the block: it receives that slice from all, sums in rank order,
  /// and the slices are gathered. MPI_Allreduce leaves the order of summation to the library.
  void sum_block(const Tensor& x, std::int64_t first, std::int64_t n) {
    const auto slice = [&](int r) {
      const std::int64_t begin = n * r / size_, end = n * (r + 1) / size_;
      return fragment_of(x, first + begin, end - begin);
    };
    const Tensor own = slice(rank_);
    move_own(own.data, sum_terms([&](int r) { return std::vector{slice(r)}; }), own.bytes());
    gather_slices(slice);
  }

  /// Sends slice(rank), this rank's own, to all others and receives theirs.
  template <class Slice>
  void gather_slices(const Slice& slice) {
    std::vector<Bytes> sends, receives;
    for (int r = 0; r < size_; ++r) {
      if (r == rank_) continue;
      sends.push_back(bytes_of(r, slice(rank_)));
      receives.push_back(bytes_of(r, slice(r)));
    }
    move(sends, receives);
  }

  MPI_Comm comm_;
  bool owned_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<char> workspace_;
  std::unique_ptr<kernels::HostBuffer> host_;  // device tensors on their way; page-locked
};

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv) {
  int level = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
  world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false, std::make_shared<Traffic>());
}

MpiSession::~MpiSession() {
  world_.reset();
  MPI_Finalize();
}

void MpiSession::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::abort();
}

}  // namespace strait::parallel
