#include "parallel/mesh.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

namespace strait::parallel {
namespace {

config::Parallel axes(std::int64_t cp, std::int64_t tp, std::int64_t ep) {
  return {.cp = cp, .tp = tp, .ep = ep};
}

TEST(Mesh, OneRank) {
  const Mesh mesh = Mesh::make(axes(1, 1, 1), 0, 1);
  EXPECT_EQ(mesh.dp, 1);
  EXPECT_EQ(mesh.dp_rank, 0);
}

TEST(Mesh, TensorRanksAreNeighbours) {
  // world = dp 2 x cp 2 x tp 3
  const Mesh mesh = Mesh::make(axes(2, 3, 1), 10, 12);
  EXPECT_EQ(mesh.dp, 2);
  EXPECT_EQ(mesh.tp_rank, 1);
  EXPECT_EQ(mesh.cp_rank, 1);
  EXPECT_EQ(mesh.dp_rank, 1);
}

TEST(Mesh, ExpertRanksAreNeighboursOnTheDataAxis) {
  std::vector<int> ep_ranks;
  for (int rank = 0; rank < 8; ++rank) {
    ep_ranks.push_back(Mesh::make(axes(1, 2, 2), rank, 8).ep_rank);
  }
  EXPECT_EQ(ep_ranks, (std::vector<int>{0, 0, 1, 1, 0, 0, 1, 1}));
}

TEST(Mesh, EveryRankHasItsOwnPlace) {
  for (const int dp : {1, 2, 4}) {
    for (const int cp : {1, 2}) {
      for (const int tp : {1, 3}) {
        std::set<std::tuple<int, int, int>> places;
        for (int rank = 0; rank < dp * cp * tp; ++rank) {
          const Mesh mesh = Mesh::make(axes(cp, tp, 1), rank, dp * cp * tp);
          EXPECT_EQ(mesh.dp, dp);
          EXPECT_EQ((mesh.dp_rank * cp + mesh.cp_rank) * tp + mesh.tp_rank, rank);
          places.insert({mesh.dp_rank, mesh.cp_rank, mesh.tp_rank});
        }
        EXPECT_EQ(places.size(), static_cast<std::size_t>(dp * cp * tp));
      }
    }
  }
}

TEST(Mesh, SaysWhichRanksOfASequenceLieOnSeveralHosts) {
  const Mesh mesh{.dp = 2, .cp = 2, .tp = 2};
  EXPECT_EQ(apart(mesh, {"a", "a", "a", "a", "b", "b", "b", "b"}), "");
  const std::string found = apart(mesh, {"a", "a", "a", "a", "b", "b", "c", "c"});
  EXPECT_NE(found.find("ranks 4 to 7 share a sequence (parallel.tp = 2, parallel.cp = 2)"),
            std::string::npos)
      << found;
  EXPECT_NE(apart(mesh, {"a", "b", "a", "b", "a", "b", "a", "b"}).find("ranks 0 to 3"),
            std::string::npos);
  EXPECT_EQ(apart({.dp = 2}, {"a", "b"}), "");  // data ranks may
}

/// Stands for one rank of a larger world: writes down the colors it is asked to split by.
class RecordingWorld final : public Communicator {
 public:
  RecordingWorld() : Communicator(std::make_shared<Traffic>()) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string broadcast(const std::string& text, int) override { return text; }
  std::vector<std::string> gather_all(const std::string& text) override { return {text}; }
  void barrier() override {}
  bool capturable() const override { return false; }
  std::unique_ptr<Communicator> split(int color) override {
    colors.push_back(color);
    return make_single();
  }
  std::vector<int> colors;  // dp, cp, tp, ep, edp

  void sum(const Tensor&, const Stream&) override {}
  void gather(ConstTensor, const Tensor&, const Stream&) override {}
  void scatter_sum(const Tensor&, const Tensor&, const Stream&) override {}
  void sum_owned(std::span<const Owned>, const Stream&) override {}
  void share_owned(std::span<const Owned>, const Stream&) override {}
  void deliver(std::span<const Message>, std::span<const Message>, const Stream&) override {}
};

TEST(Groups, RanksOfAGroupDifferInItsAxisAlone) {
  const int cp = 2, tp = 2, ep = 2, world_size = 16;
  // For each axis: color -> places along the other axes, and its members.
  std::map<int, std::set<std::tuple<int, int, int>>> others[5];
  std::map<int, int> members[5];
  for (int rank = 0; rank < world_size; ++rank) {
    const Mesh m = Mesh::make(axes(cp, tp, ep), rank, world_size);
    RecordingWorld world;
    const Groups groups(m, world);
    ASSERT_EQ(world.colors.size(), 5u);
    const std::tuple<int, int, int> rest[] = {{0, m.cp_rank, m.tp_rank},
                                              {m.dp_rank, 0, m.tp_rank},
                                              {m.dp_rank, m.cp_rank, 0},
                                              {m.dp_rank / ep, m.cp_rank, m.tp_rank},
                                              {m.ep_rank, m.cp_rank, m.tp_rank}};
    for (int axis = 0; axis < 5; ++axis) {
      others[axis][world.colors[axis]].insert(rest[axis]);
      ++members[axis][world.colors[axis]];
    }
  }
  const int sizes[] = {4, cp, tp, ep, 4 / ep};
  for (int axis = 0; axis < 5; ++axis) {
    EXPECT_EQ(members[axis].size(), static_cast<std::size_t>(world_size / sizes[axis])) << axis;
    for (const auto& [color, places] : others[axis]) EXPECT_EQ(places.size(), 1u) << axis;
    for (const auto& [color, count] : members[axis]) EXPECT_EQ(count, sizes[axis]) << axis;
  }
}

TEST(Groups, OneRankAlone) {
  Groups groups;
  EXPECT_EQ(groups.world().size(), 1);
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp, core::Axis::tp, core::Axis::ep}) {
    EXPECT_EQ(groups.axis(axis).size(), 1);
    EXPECT_EQ(groups.axis(axis).rank(), 0);
  }
}

}  // namespace
}  // namespace strait::parallel
