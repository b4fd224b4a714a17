#include <gtest/gtest.h>

#include <bit>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/error.h"
#include "kernels/async.h"
#include "kernels/elementwise.h"
#include "kernels/graph.h"
#include "kernels/launch.h"
#include "kernels/memory.h"
#include "parallel/comm_mpi.h"
#include "parallel/comm_nccl.h"
#include "parallel/device_share.h"
#include "parallel/mesh.h"
#include "parallel/peers.h"

// NCCL between GPUs. Run under mpirun with at most a rank a GPU: every rank runs every test. Groups
// of one rank go through NCCL too. Values are whole numbers, so that sums in any order are exact.
namespace strait::parallel {
namespace {

Communicator* g_host = nullptr;
Communicator* g_world = nullptr;  // over NCCL; null where there is no GPU for each rank

/// A tensor on the GPU with a copy on the host.
template <class T>
class OnDevice {
 public:
  OnDevice(std::vector<T> host, DType dtype) : host_(std::move(host)) {
    data_ = kernels::allocate(Device::cuda, host_.size() * sizeof(T));
    tensor_ = Tensor(data_, dtype, {static_cast<std::int64_t>(host_.size())});
  }
  ~OnDevice() { kernels::release(Device::cuda, data_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  const Tensor& upload(const Stream& stream) {
    kernels::copy_to_device(data_, host_.data(), tensor_.bytes(), stream);
    return tensor_;
  }
  const Tensor& tensor() const { return tensor_; }
  std::vector<T> download(const Stream& stream) const {
    std::vector<T> out(host_.size());
    kernels::copy_to_host(out.data(), data_, tensor_.bytes(), stream);
    kernels::synchronise(stream);
    return out;
  }

 private:
  std::vector<T> host_;
  void* data_ = nullptr;
  Tensor tensor_;
};

class CommNccl : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!g_world) GTEST_SKIP() << "no GPU and NCCL for each rank";
    own_ = std::make_unique<kernels::OwnedStream>(Device::cuda);
  }
  const Stream& stream() const { return own_->get(); }
  int rank() const { return g_world->rank(); }
  int size() const { return g_world->size(); }

  /// Element i of what rank `r` has: small enough for bf16 to hold four of them added up.
  template <class T>
  std::vector<T> values(int r, std::int64_t n) const {
    std::vector<T> out(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(i % 13 + 2 * r);
    return out;
  }
  template <class T>
  std::vector<T> sums(std::int64_t n) const {
    std::vector<T> out = values<T>(0, n);
    for (int r = 1; r < size(); ++r) {
      const std::vector<T> term = values<T>(r, n);
      for (std::int64_t i = 0; i < n; ++i) out[i] += term[i];
    }
    return out;
  }

  template <class T>
  void expect_collectives(DType dtype, std::int64_t n) {
    OnDevice<T> all(values<T>(rank(), n * size()), dtype), part(std::vector<T>(n), dtype);
    g_world->scatter_sum(all.upload(stream()), part.upload(stream()), stream());
    const std::vector<T> want = sums<T>(n * size());
    const std::vector<T> own(want.begin() + rank() * n, want.begin() + (rank() + 1) * n);
    EXPECT_EQ(part.download(stream()), own) << name_of(dtype);

    OnDevice<T> whole(std::vector<T>(n * size()), dtype);
    g_world->gather(part.tensor(), whole.upload(stream()), stream());
    EXPECT_EQ(whole.download(stream()), want) << name_of(dtype);

    g_world->sum(all.upload(stream()), stream());
    EXPECT_EQ(all.download(stream()), want) << name_of(dtype);
  }

 private:
  std::unique_ptr<kernels::OwnedStream> own_;
};

TEST_F(CommNccl, SumsScattersAndGathersEveryWideType) {
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{7}, std::int64_t{1} << 20}) {
    expect_collectives<double>(DType::f64, n);
    expect_collectives<float>(DType::f32, n);
    expect_collectives<std::int64_t>(DType::i64, n);
  }
}

TEST_F(CommNccl, AddsNarrowNumbers) {
  // 3 r + 1 in bf16: the upper half of a float.
  const auto narrow = [](float value) {
    return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
  };
  float sum = 0;
  for (int r = 0; r < size(); ++r) sum += static_cast<float>(3 * r + 1);
  const auto mine = narrow(static_cast<float>(3 * rank() + 1));
  OnDevice<std::uint16_t> whole(std::vector<std::uint16_t>(5 * size(), mine), DType::bf16);
  OnDevice<std::uint16_t> part(std::vector<std::uint16_t>(5), DType::bf16);
  g_world->scatter_sum(whole.upload(stream()), part.upload(stream()), stream());
  EXPECT_EQ(part.download(stream()), std::vector<std::uint16_t>(5, narrow(sum)));
}

TEST_F(CommNccl, GathersBytesAndIndices) {
  OnDevice<std::int32_t> part({rank(), 10 + rank()}, DType::i32);
  OnDevice<std::int32_t> whole(std::vector<std::int32_t>(2 * size()), DType::i32);
  g_world->gather(part.upload(stream()), whole.upload(stream()), stream());
  std::vector<std::int32_t> want;
  for (int r = 0; r < size(); ++r) want.insert(want.end(), {r, 10 + r});
  EXPECT_EQ(whole.download(stream()), want);
}

TEST_F(CommNccl, SumsAtOwnersAndSharesFromThem) {
  // Rank r owns 3 + r elements, and a second piece of one.
  std::vector<Owned> pieces;
  std::int64_t n = 0;
  for (int r = 0; r < size(); ++r) n += 4 + r;
  OnDevice<float> x(values<float>(rank(), n), DType::f32);
  const Tensor& all = x.upload(stream());
  std::int64_t at = 0;
  for (int r = 0; r < size(); at += 4 + r, ++r) {
    pieces.push_back({r, all.slice(0, at, 3 + r)});
    pieces.push_back({r, all.slice(0, at + 3 + r, 1)});
  }
  g_world->sum_owned(pieces, stream());
  g_world->share_owned(pieces, stream());
  EXPECT_EQ(x.download(stream()), sums<float>(n));
}

TEST_F(CommNccl, DeliversInTheOrderOfMessages) {
  const int next = (rank() + 1) % size(), before = (rank() + size() - 1) % size();
  OnDevice<std::int32_t> out({10 * rank(), 10 * rank() + 1, 100 + rank()}, DType::i32);
  OnDevice<std::int32_t> in({-1, -1, -1}, DType::i32);
  const auto at = [](const Tensor& x, std::int64_t i) { return x.slice(0, i, 1); };
  const Tensor& from = out.upload(stream());
  const Tensor& to = in.upload(stream());
  if (size() == 1) {
    const Message sends[] = {{0, at(from, 0)}, {0, at(from, 2)}};
    const Message receives[] = {{0, at(to, 0)}, {0, at(to, 2)}};
    g_world->deliver(sends, receives, stream());
    EXPECT_EQ(in.download(stream()), (std::vector<std::int32_t>{0, -1, 100}));
    return;
  }
  const Message sends[] = {{next, at(from, 0)}, {rank(), at(from, 2)}, {next, at(from, 1)}};
  const Message receives[] = {{before, at(to, 0)}, {rank(), at(to, 2)}, {before, at(to, 1)}};
  g_world->deliver(sends, receives, stream());
  const std::vector<std::int32_t> want = {10 * before, 10 * before + 1, 100 + rank()};
  EXPECT_EQ(in.download(stream()), want);
}

TEST_F(CommNccl, AGraphRepeatsCollectives) {
  ASSERT_TRUE(g_world->capturable());
  OnDevice<double> x(std::vector<double>(1000, 1.0), DType::f64);
  OnDevice<double> out(std::vector<double>(1000), DType::f64);
  x.upload(stream());
  out.upload(stream());
  kernels::Repeated launches;
  double want = 1;
  for (int run = 0; run < 4; ++run) {
    launches.run(stream(), [&] {
      g_world->sum(x.tensor(), stream());
      const Message send[] = {{(rank() + 1) % size(), x.tensor()}};
      const Message receive[] = {{(rank() + size() - 1) % size(), out.tensor()}};
      g_world->deliver(send, receive, stream());
    });
    want *= size();
    EXPECT_EQ(out.download(stream()), std::vector<double>(1000, want)) << "run " << run;
  }
  EXPECT_TRUE(launches.captured());
}

/// Memory that peers write to, with this rank's values in front: [n] f32 and room for all ranks.
class Reachable {
 public:
  Reachable(const std::vector<float>& values, std::int64_t skipped, const Stream& stream) {
    take(values, skipped);
    arena_.allocate(Device::cuda);
    take(values, skipped);
    kernels::copy_to_device(x_.data, values.data(), x_.bytes(), stream);
    kernels::synchronise(stream);
    peers_ = connect_peers(*g_world, {arena_.block()});
  }
  Peers* peers() const { return peers_.get(); }
  const Tensor& x() const { return x_; }
  const Tensor& all() const { return all_; }
  Tensor of(int rank) const { return all_.slice(0, rank * x_.shape[0], x_.shape[0]); }

 private:
  void take(const std::vector<float>& values, std::int64_t skipped) {
    const auto n = static_cast<std::int64_t>(values.size());
    arena_.take(DType::f32, {std::int64_t{1} << 19});
    if (skipped > 0) arena_.take(DType::f32, {skipped});
    x_ = arena_.take(DType::f32, {n});
    all_ = arena_.take(DType::f32, {n * g_world->size()});
  }

  core::Arena arena_{"reachable"};
  std::unique_ptr<Peers> peers_;
  Tensor x_, all_;
};

TEST_F(CommNccl, PeersWriteToEachOtherInGraphs) {
  if (size() == 1) GTEST_SKIP() << "one rank has no peers";
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{1} << 22}) {
    const std::vector<float> mine = values<float>(rank(), n);
    const Reachable memory(mine, 0, stream());
    ASSERT_TRUE(memory.peers());
    kernels::Repeated launches;
    float factor = 1;
    for (int run = 0; run < 5; ++run) {
      launches.run(stream(), [&] {
        kernels::launch(kernels::Fill{.x = memory.all(), .value = -1}, stream());
        memory.peers()->allow(memory.all(), stream());
        for (int i = 0; i + 1 < size(); ++i) {
          memory.peers()->send(g_world->receiver(i), memory.x(), memory.of(rank()), stream());
        }
        for (int i = 0; i + 1 < size(); ++i) {
          memory.peers()->await(g_world->sender(i), stream());
        }
        kernels::launch(kernels::Add{.a = memory.x(), .b = memory.x(), .y = memory.x()}, stream());
      });
      std::vector<float> got(static_cast<std::size_t>(n * size()));
      kernels::copy_to_host(got.data(), memory.all().data, memory.all().bytes(), stream());
      kernels::synchronise(stream());
      for (int r = 0; r < size(); ++r) {
        std::vector<float> want = values<float>(r, n);
        for (float& x : want) x = r == rank() ? -1 : factor * x;
        const std::vector<float> part(got.begin() + r * n, got.begin() + (r + 1) * n);
        ASSERT_EQ(part, want) << n << " elements of rank " << r << ", run " << run;
      }
      factor *= 2;
    }
    EXPECT_TRUE(launches.captured());
  }
}

TEST_F(CommNccl, PeersRefuseToWriteAtDifferentPlaces) {
  if (size() == 1) GTEST_SKIP() << "one rank has no peers";
  const Reachable memory({1, 2}, rank() == 0 ? 0 : 1000, stream());
  ASSERT_TRUE(memory.peers());
  EXPECT_THROW(memory.peers()->allow(memory.all(), stream()), core::RuntimeFault);
}

TEST_F(CommNccl, GroupsOfAMeshMeetByThemselves) {
  if (size() % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  const Mesh mesh = Mesh::make({.tp = 2}, rank(), size());
  Groups groups(mesh, *g_host, {.own_gpus = true, .overlap = true});
  EXPECT_TRUE(groups.capturable());
  for (const core::Axis axis : {core::Axis::tp, core::Axis::dp}) {
    Communicator& group = groups.axis(axis);
    OnDevice<double> x({static_cast<double>(rank())}, DType::f64);
    group.all_reduce_sum(x.upload(stream()), stream());
    double want = 0;
    for (int r = 0; r < size(); ++r) {
      const Mesh other = Mesh::make({.tp = 2}, r, size());
      const bool with =
          axis == core::Axis::tp ? other.dp_rank == mesh.dp_rank : other.tp_rank == mesh.tp_rank;
      if (with) want += r;
    }
    EXPECT_EQ(x.download(stream()), std::vector<double>{want});
  }
  OnDevice<double> x({1.0}, DType::f64);
  groups.world().all_reduce_sum(x.upload(stream()), stream());
  EXPECT_EQ(x.download(stream()), std::vector<double>{static_cast<double>(size())});
}

TEST_F(CommNccl, HostMemoryGoesOnThroughTheHost) {
  std::int64_t x = rank() + 1;
  if (size() == 1) GTEST_SKIP() << "a group of one has nobody to meet";
  g_world->all_reduce_sum(Tensor(&x, DType::i64, {1}), Stream{});
  EXPECT_EQ(x, size() * (size() + 1) / 2);
  EXPECT_EQ(g_world->gather_all(std::to_string(rank())).back(), std::to_string(size() - 1));
}

}  // namespace
}  // namespace strait::parallel

int main(int argc, char** argv) {
  using namespace strait;
  parallel::MpiSession mpi(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  std::unique_ptr<parallel::Communicator> world;
  parallel::g_host = &mpi.world();
  if (parallel::share_devices(Device::cuda, mpi.world()).own_gpus) {
    world = parallel::make_nccl(mpi.world().split(0));
    parallel::g_world = world.get();
  }
  return RUN_ALL_TESTS();
}
