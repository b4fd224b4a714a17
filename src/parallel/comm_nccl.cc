#include "parallel/comm_nccl.h"

#include "core/error.h"

#ifdef STRAIT_NCCL
#include <dlfcn.h>
#include <nccl.h>
#endif

namespace strait::parallel {

#ifdef STRAIT_NCCL
namespace {

/// The library's functions, found when they are first wanted: programs start without it.
struct Nccl {
  decltype(&ncclGetVersion) get_version = nullptr;
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init_rank = nullptr;
  decltype(&ncclCommDestroy) destroy = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclReduceScatter) reduce_scatter = nullptr;
  decltype(&ncclReduce) reduce = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;
  bool complete = false;

  Nccl() {
    void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    complete = true;
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      complete = complete && function;
    };
    find(get_version, "ncclGetVersion");
    find(get_unique_id, "ncclGetUniqueId");
    find(init_rank, "ncclCommInitRankConfig");
    find(destroy, "ncclCommDestroy");
    find(all_reduce, "ncclAllReduce");
    find(all_gather, "ncclAllGather");
    find(reduce_scatter, "ncclReduceScatter");
    find(reduce, "ncclReduce");
    find(broadcast, "ncclBroadcast");
    find(send, "ncclSend");
    find(receive, "ncclRecv");
    find(group_start, "ncclGroupStart");
    find(group_end, "ncclGroupEnd");
    find(error_string, "ncclGetErrorString");
  }
};

const Nccl& nccl() {
  static const Nccl library;
  return library;
}

void require(ncclResult_t result, const char* what) {
  if (result == ncclSuccess) return;
  throw core::RuntimeFault(std::string("NCCL: ") + what + ": " + nccl().error_string(result) +
                           "; NCCL_DEBUG=INFO says more");
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return ncclFloat64;
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i64:
      return ncclInt64;
    case DType::i32:
      return ncclInt32;
    case DType::u8:
      return ncclUint8;
  }
  return ncclUint8;
}

cudaStream_t handle_of(const Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

std::size_t count_of(const ConstTensor& x) {
  return static_cast<std::size_t>(x.numel());
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, int most_blocks)
      : Communicator(host->shared_traffic()), host_(std::move(host)), most_blocks_(most_blocks) {
    ncclUniqueId id = {};
    if (rank() == 0) require(nccl().get_unique_id(&id), "ncclGetUniqueId");
    const std::string text = host_->broadcast(std::string(id.internal, sizeof id.internal), 0);
    text.copy(id.internal, sizeof id.internal);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    if (most_blocks > 0) config.maxCTAs = most_blocks;
    require(nccl().init_rank(&comm_, size(), id, rank(), &config), "ncclCommInitRankConfig");
  }
  ~NcclCommunicator() override { nccl().destroy(comm_); }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string broadcast(const std::string& text, int root) override {
    return host_->broadcast(text, root);
  }
  std::vector<std::string> gather_all(const std::string& text) override {
    return host_->gather_all(text);
  }
  void barrier() override { host_->barrier(); }
  bool capturable() const override { return true; }
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<NcclCommunicator>(host_->split(color), most_blocks_);
  }

  void sum(const Tensor& x, const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->sum(x, stream);
    require(nccl().all_reduce(x.data, x.data, count_of(x), type_of(x.dtype), ncclSum, comm_,
                              handle_of(stream)),
            "ncclAllReduce");
  }
  void gather(ConstTensor part, const Tensor& whole, const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->gather(part, whole, stream);
    require(nccl().all_gather(part.data, whole.data, count_of(part), type_of(part.dtype), comm_,
                              handle_of(stream)),
            "ncclAllGather");
  }
  void scatter_sum(const Tensor& whole, const Tensor& part, const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->scatter_sum(whole, part, stream);
    require(nccl().reduce_scatter(whole.data, part.data, count_of(part), type_of(part.dtype),
                                  ncclSum, comm_, handle_of(stream)),
            "ncclReduceScatter");
  }
  void sum_owned(std::span<const Owned> pieces, const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->sum_owned(pieces, stream);
    require(nccl().group_start(), "ncclGroupStart");
    for (const Owned& piece : pieces) {
      const Tensor& x = piece.data;
      require(nccl().reduce(x.data, x.data, count_of(x), type_of(x.dtype), ncclSum, piece.owner,
                            comm_, handle_of(stream)),
              "ncclReduce");
    }
    require(nccl().group_end(), "ncclGroupEnd");
  }
  void share_owned(std::span<const Owned> pieces, const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->share_owned(pieces, stream);
    require(nccl().group_start(), "ncclGroupStart");
    for (const Owned& piece : pieces) {
      const Tensor& x = piece.data;
      require(nccl().broadcast(x.data, x.data, count_of(x), type_of(x.dtype), piece.owner, comm_,
                               handle_of(stream)),
              "ncclBroadcast");
    }
    require(nccl().group_end(), "ncclGroupEnd");
  }
  void deliver(std::span<const Message> sends, std::span<const Message> receives,
               const Stream& stream) override {
    if (stream.device != Device::cuda) return host_->deliver(sends, receives, stream);
    require(nccl().group_start(), "ncclGroupStart");
    for (const Message& message : sends) {
      const Tensor& x = message.data;
      require(nccl().send(x.data, count_of(x), type_of(x.dtype), message.peer, comm_,
                          handle_of(stream)),
              "ncclSend");
    }
    for (const Message& message : receives) {
      const Tensor& x = message.data;
      require(nccl().receive(x.data, count_of(x), type_of(x.dtype), message.peer, comm_,
                             handle_of(stream)),
              "ncclRecv");
    }
    require(nccl().group_end(), "ncclGroupEnd");
  }

 private:
  std::unique_ptr<Communicator> host_;
  int most_blocks_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::string nccl_version() {
  int version = 0;  // 22809 is 2.28.9
  if (!nccl().complete || nccl().get_version(&version) != ncclSuccess) return {};
  return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
         std::to_string(version % 100);
}

std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host, int most_blocks) {
  return std::make_unique<NcclCommunicator>(std::move(host), most_blocks);
}

#else

std::string nccl_version() {
  return {};
}

std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator>, int) {
  throw core::RuntimeFault("built without NCCL; install its header and configure again");
}

#endif

}  // namespace strait::parallel
