#include "parallel/comm_mpi.h"

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace strait::parallel {
namespace {

// Elements of one pass of a sum: bounds the workspace to 8 bytes times this.
constexpr std::int64_t kBlock = std::int64_t{1} << 20;

MPI_Datatype mpi_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return MPI_DOUBLE;
    case DType::f32:
      return MPI_FLOAT;
    case DType::i64:
      return MPI_INT64_T;
    default:
      throw core::RuntimeFault(std::string("sum over ranks: no such sum for dtype ") +
                               name_of(dtype));
  }
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, bool owned) : comm_(comm), owned_(owned) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiCommunicator() override {
    if (owned_) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce_sum(const Tensor& x, const Stream& stream) override {
    if (size_ == 1 || stream.device == Device::plan) return;
    if (stream.device == Device::cuda) return sum_through_host(x, stream);
    if (x.dtype == DType::f64) return sum_blocks(x.as<double>(), x.numel(), x.dtype);
    if (x.dtype == DType::i64) return sum_blocks(x.as<std::int64_t>(), x.numel(), x.dtype);
    sum_blocks(x.as<float>(), x.numel(), x.dtype);
  }

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

  std::unique_ptr<Communicator> split(int color) override {
    MPI_Comm part;
    MPI_Comm_split(comm_, color, rank_, &part);
    return std::make_unique<MpiCommunicator>(part, true);
  }

 private:
  // Ranks that share a GPU meet in host memory.
  void sum_through_host(const Tensor& x, const Stream& stream) {
    host_.resize(x.bytes());
    kernels::copy_to_host(host_.data(), x.data, x.bytes(), stream);
    kernels::synchronise(stream);
    Tensor staged = x;
    staged.data = host_.data();
    all_reduce_sum(staged, Stream{});
    kernels::copy_to_device(x.data, host_.data(), x.bytes(), stream);
    kernels::synchronise(stream);
  }

  // Each rank owns one slice of the block: it receives that slice from all, sums in rank order, and
  // the slices are gathered. MPI_Allreduce leaves the order of summation to the library.
  template <class T>
  void sum_blocks(T* x, std::int64_t n, DType dtype) {
    const MPI_Datatype type = mpi_type(dtype);
    for (std::int64_t begin = 0; begin < n; begin += kBlock) {
      sum_block(x + begin, static_cast<int>(std::min(kBlock, n - begin)), type);
    }
  }

  template <class T>
  void sum_block(T* x, int n, MPI_Datatype type) {
    std::vector<int> count(size_), begin(size_), mine(size_), at(size_);
    for (int r = 0; r < size_; ++r) {
      begin[r] = static_cast<int>(std::int64_t{n} * r / size_);
      count[r] = static_cast<int>(std::int64_t{n} * (r + 1) / size_) - begin[r];
    }
    const int own = count[rank_];
    for (int r = 0; r < size_; ++r) {
      mine[r] = own;
      at[r] = own * r;
    }
    workspace_.resize(
        std::max(workspace_.size(), sizeof(T) * static_cast<std::size_t>(own) * size_));
    T* received = reinterpret_cast<T*>(workspace_.data());
    MPI_Alltoallv(x, count.data(), begin.data(), type, received, mine.data(), at.data(), type,
                  comm_);
    T* sum = x + begin[rank_];
    std::memcpy(sum, received, sizeof(T) * static_cast<std::size_t>(own));
    for (int r = 1; r < size_; ++r) {
      for (int i = 0; i < own; ++i) sum[i] += received[std::int64_t{own} * r + i];
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, type, x, count.data(), begin.data(), type, comm_);
  }

  MPI_Comm comm_;
  bool owned_;
  int rank_ = 0;
  int size_ = 1;
  std::vector<char> workspace_;
  std::vector<char> host_;  // a device tensor on its way
};

}  // namespace

MpiSession::MpiSession(int* argc, char*** argv) {
  int level = 0;
  MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
  world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false);
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
