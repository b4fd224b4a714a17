#include "parallel/comm_buffers.h"

#include <gtest/gtest.h>

#include "parallel/mesh.h"

namespace strait::parallel {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(CommBuffers, AreThoseOfChannelsAndPeers) {
  EXPECT_EQ(nccl_buffer_bytes({}, 0), 0u);
  EXPECT_EQ(nccl_buffer_bytes({.ring = true}, 0), 24 * 12 * kMiB);
  EXPECT_EQ(nccl_buffer_bytes({.ring = true}, 8), 8 * 12 * kMiB);
  EXPECT_EQ(nccl_buffer_bytes({.ring = true}, 100), 24 * 12 * kMiB);
  // What issue 1685 of NCCL counts: 32 channels a peer, 2 MiB to send and 10 MiB to receive.
  const std::set<int> seven = {1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(nccl_buffer_bytes({.sends = seven, .receives = seven}, 0), 7 * 32 * 12 * kMiB);
  const std::set<int> eight = {1, 2, 3, 4, 5, 6, 7, 8};  // one of them is on another host
  EXPECT_EQ(nccl_buffer_bytes({.sends = eight, .receives = eight}, 0), 7 * 32 * 12 * kMiB);
  EXPECT_EQ(nccl_buffer_bytes({.sends = {1}, .receives = {2, 3}}, 0), 32 * (2 + 2 * 10) * kMiB);
}

/// What a rank of `mesh` takes when it has exchanged along `axis` on the plan device.
std::size_t bytes_after(const Mesh& mesh, const Transport& transport, core::Axis axis,
                        bool to_peers) {
  Groups groups = Groups::planned(mesh, transport);
  const Stream plan{.device = Device::plan};
  Communicator& group = groups.axis(axis);
  const Tensor x(nullptr, DType::f32, {4});
  if (to_peers) {
    const Message message{(group.rank() + 1) % group.size(), x};
    group.exchange(std::span(&message, 1), std::span(&message, 1), plan, "test");
  } else {
    group.all_reduce_sum(x, plan);
  }
  return groups.buffer_bytes();
}

TEST(CommBuffers, FollowWhatAPlanSaw) {
  const Mesh mesh{.dp = 4, .tp = 2, .ep = 2};
  const Transport nccl{.own_gpus = true, .overlap = true};
  EXPECT_EQ(bytes_after(mesh, {}, core::Axis::tp, false), 0u);  // they meet in host memory
  EXPECT_EQ(bytes_after({}, nccl, core::Axis::tp, false), 0u);  // nobody to meet
  EXPECT_EQ(bytes_after(mesh, nccl, core::Axis::cp, false), kNcclBytes);
  EXPECT_EQ(bytes_after(mesh, nccl, core::Axis::tp, false), kNcclBytes + 24 * 12 * kMiB);
  EXPECT_EQ(bytes_after(mesh, nccl, core::Axis::dp, false), kNcclBytes + 8 * 12 * kMiB);
  EXPECT_EQ(bytes_after(mesh, {.own_gpus = true}, core::Axis::dp, false),
            kNcclBytes + 24 * 12 * kMiB);
  EXPECT_EQ(bytes_after(mesh, nccl, core::Axis::ep, true), kNcclBytes + 32 * 12 * kMiB);
}

TEST(CommBuffers, AxesOfTheSameRanksShareThem) {
  Groups groups = Groups::planned({.dp = 2}, {.own_gpus = true});
  EXPECT_EQ(&groups.axis(core::Axis::dp), &groups.axis(core::Axis::edp));
  EXPECT_EQ(&groups.axis(core::Axis::dp), &groups.world());
  Groups two = Groups::planned({.dp = 2, .tp = 2}, {.own_gpus = true});
  EXPECT_EQ(two.world().size(), 4);
  EXPECT_NE(&two.beside(core::Axis::tp), &two.axis(core::Axis::tp));
}

}  // namespace
}  // namespace strait::parallel
