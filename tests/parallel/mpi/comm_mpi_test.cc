#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm_mpi.h"
#include "parallel/mesh.h"

// Run under mpirun with several ranks: every rank runs every test.
namespace strait::parallel {
namespace {

Communicator* g_world = nullptr;

/// What rank `rank` contributes; stored, so that the compiler cannot fuse it into a sum.
template <class T>
std::vector<T> values_of(int rank, std::int64_t n) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    values[i] = static_cast<T>(1000.0 / (3.0 + rank) + 0.37 * static_cast<double>(i));
  }
  return values;
}

template <class T>
void expect_rank_order_sum(std::int64_t n, DType dtype) {
  std::vector<T> x = values_of<T>(g_world->rank(), n);
  g_world->all_reduce_sum(Tensor(x.data(), dtype, {n}), Stream{});
  std::vector<T> want = values_of<T>(0, n);
  for (int r = 1; r < g_world->size(); ++r) {
    const std::vector<T> term = values_of<T>(r, n);
    for (std::int64_t i = 0; i < n; ++i) want[i] += term[i];
  }
  for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(x[i], want[i]) << "element " << i << " of " << n;
}

TEST(CommMpi, SumsInRankOrderBitForBit) {
  for (const std::int64_t n : {1, 2, 3, 7, 1000}) {
    expect_rank_order_sum<double>(n, DType::f64);
    expect_rank_order_sum<float>(n, DType::f32);
    expect_rank_order_sum<std::int64_t>(n, DType::i64);
  }
}

TEST(CommMpi, SumsOverSeveralBlocks) {
  expect_rank_order_sum<float>((std::int64_t{1} << 20) + 17, DType::f32);
}

TEST(CommMpi, GathersPartsInRankOrder) {
  const int size = g_world->size();
  for (const std::int64_t n : {1, 5}) {
    std::vector<double> part = values_of<double>(g_world->rank(), n), whole(n * size, -1), want;
    for (int r = 0; r < size; ++r) {
      const auto term = values_of<double>(r, n);
      want.insert(want.end(), term.begin(), term.end());
    }
    g_world->all_gather(Tensor(part.data(), DType::f64, {n}),
                        Tensor(whole.data(), DType::f64, {n * size}), Stream{}, "test");
    EXPECT_EQ(whole, want);
  }
}

TEST(CommMpi, ScattersSumsInRankOrderBitForBit) {
  const int size = g_world->size(), rank = g_world->rank();
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{7}, (std::int64_t{1} << 20) + 3}) {
    std::vector<float> whole = values_of<float>(rank, n * size), part(static_cast<std::size_t>(n));
    std::vector<float> want = values_of<float>(0, n * size);
    for (int r = 1; r < size; ++r) {
      const auto term = values_of<float>(r, n * size);
      for (std::int64_t i = 0; i < n * size; ++i) want[i] += term[i];
    }
    g_world->reduce_scatter_sum(Tensor(whole.data(), DType::f32, {n * size}),
                                Tensor(part.data(), DType::f32, {n}), Stream{}, "test");
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(part[i], want[rank * n + i]) << i;
  }
}

/// Pieces of `whole`, end to end, that ranks own in turn; none of the last rank's where there are
/// others.
std::vector<Owned> owned_pieces(std::vector<float>& whole, const std::vector<std::int64_t>& sizes) {
  std::vector<Owned> pieces;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const int owner = static_cast<int>(i) % std::max(1, g_world->size() - 1);
    pieces.push_back({owner, Tensor(whole.data() + begin, DType::f32, {sizes[i]})});
    begin += sizes[i];
  }
  return pieces;
}

TEST(CommMpi, SumsAtOwnersInRankOrderBitForBit) {
  const std::vector<std::int64_t> sizes = {3, 1, (std::int64_t{1} << 20) + 5, 7, 2, 130, 1};
  const std::int64_t n = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  std::vector<float> x = values_of<float>(g_world->rank(), n), want = values_of<float>(0, n);
  for (int r = 1; r < g_world->size(); ++r) {
    const auto term = values_of<float>(r, n);
    for (std::int64_t i = 0; i < n; ++i) want[i] += term[i];
  }
  g_world->sum_to_owners(owned_pieces(x, sizes), Stream{}, "test");
  for (const Owned& piece : owned_pieces(x, sizes)) {
    if (piece.owner != g_world->rank()) continue;
    const std::int64_t begin = piece.data.as<float>() - x.data();
    for (std::int64_t i = begin; i < begin + piece.data.numel(); ++i) ASSERT_EQ(x[i], want[i]) << i;
  }
}

TEST(CommMpi, SharesWhatOwnersHave) {
  const std::vector<std::int64_t> sizes = {3, 1, 70, 7, 2};
  std::vector<float> x = values_of<float>(g_world->rank(), 83), want(x.size());
  for (const Owned& piece : owned_pieces(want, sizes)) {
    const std::int64_t begin = piece.data.as<float>() - want.data();
    const auto of_owner = values_of<float>(piece.owner, 83);
    std::copy_n(of_owner.begin() + begin, piece.data.numel(), want.begin() + begin);
  }
  g_world->share_from_owners(owned_pieces(x, sizes), Stream{}, "test");
  EXPECT_EQ(x, want);
}

TEST(CommMpi, AddsNarrowNumbersInFloatAndRoundsOnce) {
  const int size = g_world->size();
  if (size == 1) GTEST_SKIP() << "a group of one sums nothing";
  // 1 + 2^-8 + ... in bf16: each term would be lost against 1 if sums were rounded one by one.
  const std::uint16_t one = 0x3f80, small = 0x3b80;  // 1 and 2^-8
  std::vector<std::uint16_t> whole(static_cast<std::size_t>(size), g_world->rank() ? small : one);
  std::uint16_t part = 0;
  g_world->reduce_scatter_sum(Tensor(whole.data(), DType::bf16, {size}),
                              Tensor(&part, DType::bf16, {1}), Stream{}, "test");
  const float sum = 1.0f + static_cast<float>(size - 1) * 0.00390625f;
  const std::uint16_t rounded[] = {0, 0, 0x3f80, 0x3f81, 0x3f82};  // ties to even
  EXPECT_EQ(part, rounded[size]) << sum;
}

TEST(CommMpi, ExchangesInTheOrderOfMessages) {
  const int size = g_world->size(), rank = g_world->rank();
  const int next = (rank + 1) % size, before = (rank + size - 1) % size;
  std::int32_t out[2] = {10 * rank, 10 * rank + 1}, in[2] = {-1, -1}, own = -1;
  std::int32_t mine = 100 + rank;
  const auto one = [](std::int32_t& x) { return Tensor(&x, DType::i32, {1}); };
  const Message sends[] = {{next, one(out[0])}, {rank, one(mine)}, {next, one(out[1])}};
  const Message receives[] = {{before, one(in[0])}, {rank, one(own)}, {before, one(in[1])}};
  if (size > 1) {
    g_world->exchange(sends, receives, Stream{}, "test");
    EXPECT_EQ(own, 100 + rank);
    EXPECT_EQ(in[0], 10 * before);
    EXPECT_EQ(in[1], 10 * before + 1);
  }
}

TEST(CommMpi, CountsWhatLeavesTheRank) {
  const int size = g_world->size();
  g_world->traffic().reset();
  std::vector<float> part(6), whole(static_cast<std::size_t>(6 * size));
  g_world->all_gather(Tensor(part.data(), DType::f32, {6}),
                      Tensor(whole.data(), DType::f32, {6 * size}), Stream{}, "a");
  g_world->reduce_scatter_sum(Tensor(whole.data(), DType::f32, {6 * size}),
                              Tensor(part.data(), DType::f32, {6}), Stream{}, "b");
  std::vector<float> all(5);
  g_world->sum_to_owners(owned_pieces(all, {2, 3}), Stream{}, "c");
  g_world->share_from_owners(owned_pieces(all, {2, 3}), Stream{}, "d");
  const auto counts = g_world->traffic().counts();
  if (size == 1) {
    EXPECT_TRUE(counts.empty());
    return;
  }
  EXPECT_EQ(counts.at("a").bytes, 24 * (size - 1));
  EXPECT_EQ(counts.at("b").bytes, 24 * (size - 1));
  EXPECT_EQ(counts.at("a").calls, 1);
  std::int64_t own = 0;
  for (const Owned& piece : owned_pieces(all, {2, 3})) {
    if (piece.owner == g_world->rank()) own += 4 * piece.data.numel();
  }
  EXPECT_EQ(counts.at("c").bytes, 4 * 5 - own);
  EXPECT_EQ(counts.at("d").bytes, own * (size - 1));
}

TEST(CommMpi, RefusesDtypesWithoutASum) {
  std::int32_t x = 1;
  if (g_world->size() == 1) GTEST_SKIP() << "a group of one sums nothing";
  EXPECT_THROW(g_world->all_reduce_sum(Tensor(&x, DType::i32, {1}), Stream{}), core::RuntimeFault);
}

TEST(CommMpi, BroadcastsAndGathersTexts) {
  const std::string mine = "rank " + std::to_string(g_world->rank());
  const int last = g_world->size() - 1;
  EXPECT_EQ(g_world->broadcast(mine, last), "rank " + std::to_string(last));
  EXPECT_EQ(g_world->broadcast("", 0), "");
  const auto all = g_world->gather_all(mine);
  ASSERT_EQ(static_cast<int>(all.size()), g_world->size());
  for (int r = 0; r < g_world->size(); ++r) EXPECT_EQ(all[r], "rank " + std::to_string(r));
}

TEST(CommMpi, SplitsByColorInRankOrder) {
  const int rank = g_world->rank(), size = g_world->size();
  const auto part = g_world->split(rank % 2);
  EXPECT_EQ(part->size(), (size + 1 - rank % 2) / 2);
  EXPECT_EQ(part->rank(), rank / 2);
  double x = rank;
  part->all_reduce_sum(Tensor(&x, DType::f64, {1}), Stream{});
  double want = 0;
  for (int r = rank % 2; r < size; r += 2) want += r;
  EXPECT_EQ(x, want);
}

TEST(CommMpi, GroupsFollowTheMesh) {
  const Mesh mesh = Mesh::make({}, g_world->rank(), g_world->size());
  Groups groups(mesh, *g_world);
  EXPECT_EQ(groups.axis(core::Axis::dp).size(), g_world->size());
  EXPECT_EQ(groups.axis(core::Axis::dp).rank(), g_world->rank());
  for (const core::Axis axis : {core::Axis::cp, core::Axis::tp, core::Axis::ep}) {
    EXPECT_EQ(groups.axis(axis).size(), 1);
  }
}

/// What `together` throws here when `work` fails; nothing when it does not throw.
std::optional<AgreedFailure> failure_of(const std::function<void()>& work) {
  try {
    together(*g_world, work);
  } catch (const AgreedFailure& failure) {
    return failure;
  }
  return std::nullopt;
}

TEST(Together, OneFailureReachesEveryRankAndOneCarriesIt) {
  const int last = g_world->size() - 1;
  const auto failure = failure_of([&] {
    if (g_world->rank() == last) throw core::InputError("bad value");
  });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_code, core::kBadInput);
  ASSERT_EQ(failure->error != nullptr, g_world->rank() == last);
  if (failure->error) {
    EXPECT_THROW(std::rethrow_exception(failure->error), core::InputError);
  }
}

TEST(Together, LowestFailingRankCarriesTheError) {
  const auto failure = failure_of([] { throw core::RuntimeFault("disk full"); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_code, core::kRuntimeFault);
  EXPECT_EQ(failure->error != nullptr, g_world->rank() == 0);
}

TEST(Together, PassesWhenAllRanksDo) {
  int runs = 0;
  together(*g_world, [&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace strait::parallel

int main(int argc, char** argv) {
  strait::parallel::MpiSession mpi(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  strait::parallel::g_world = &mpi.world();
  return RUN_ALL_TESTS();
}
