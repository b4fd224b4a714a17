#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/graph.h"
#include "kernels/launch.h"
#include "parallel/comm_mpi.h"
#include "parallel/device_share.h"
#include "parallel/tensor_split.h"

// What tensor ranks exchange around the products of a layer, 16,384 rows of 2048 in bf16: the
// exchange alone, the product alone, and both as layers do it, through NCCL and by copies into the
// peers' memory. Median microseconds of replayed graphs. Run under mpirun with a GPU each.
namespace strait::parallel {
namespace {

constexpr std::int64_t kRows = 16384, kWidth = 2048;
constexpr int kRepeats = 15, kEach = 8;

void require(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "comm_bench: %s\n", cudaGetErrorString(status));
  std::exit(3);
}

/// A product of all rows with this rank's part of a weight.
struct Product {
  const char* name;
  std::int64_t in, out;  // of this rank
  Tensor x = {}, y = {}, weight = {};
};

class Bench {
 public:
  Bench(const Mesh& mesh, Communicator& world)
      : groups_(mesh, world, {.own_gpus = true, .overlap = true}),
        group_(groups_.axis(core::Axis::tp)),
        ctx_(arenas_.ctx(groups_)) {
    const std::int64_t ranks = group_.size();
    gathered_ = {{"projections of attention", kWidth, 3072 / ranks},
                 {"gate and up", kWidth, 11264 / ranks}};
    summed_ = {{"output of attention", 2048 / ranks, kWidth}, {"down", 5632 / ranks, kWidth}};
    run_all();
    arenas_.allocate(Device::cuda);
    ctx_.stream = own_.get();
    ctx_.lane = &lane_;
    peers_ = connect_peers(group_, {arenas_.saved.block(), arenas_.scratch.block()});
    kernels::launch(kernels::Fill{.x = arenas_.saved.block(), .value = 0}, ctx_.stream);
  }

  void run() {
    if (group_.rank() == 0) {
      std::printf("%-26s %8s %14s %14s\n", "microseconds", "alone", "through NCCL", "by copies");
    }
    run_all();
  }

 private:
  void run_all() {
    arenas_.saved.release(0);
    rows_ = arenas_.saved.take(DType::bf16, {kRows / group_.size(), kWidth});
    row("all-gather", nullptr, [&] { whole_rows(ctx_, rows_); });
    row("reduce-scatter", nullptr, [&] { summed_rows(ctx_, terms_of(ctx_, rows_), rows_); });
    for (Product& product : gathered_) {
      take(product);
      row(product.name, &product, [&] {
        with_whole_rows(ctx_, rows_, [&](ConstTensor x, std::int64_t first) {
          multiply(x, product.weight, product.y.slice(0, first, x.shape[0]));
        });
      });
    }
    for (Product& product : summed_) {
      take(product);
      row(product.name, &product, [&] {
        with_summed_rows(ctx_, rows_, [&](Tensor y, std::int64_t first) {
          multiply(product.x.slice(0, first, y.shape[0]), product.weight, y);
        });
      });
    }
  }

  void take(Product& product) {
    product.x = arenas_.saved.take(DType::bf16, {kRows, product.in});
    product.y = arenas_.saved.take(DType::bf16, {kRows, product.out});
    product.weight = arenas_.saved.take(DType::bf16, {product.out, product.in});
  }
  void multiply(ConstTensor x, ConstTensor weight, Tensor y) {
    kernels::launch(kernels::Gemm{.a = x, .b = weight, .c = y, .trans_b = true}, ctx_.stream);
  }

  void row(const char* name, const Product* product, const std::function<void()>& both) {
    const auto exchange = [&](Peers* peers) {
      ctx_.peers.tensor = peers;
      return time([&] {
        const core::Frame frame(ctx_.scratch);
        both();
      });
    };
    const double alone =
        product ? time([&] { multiply(product->x, product->weight, product->y); }) : 0;
    const double nccl = exchange(nullptr), copies = peers_ ? exchange(peers_.get()) : 0;
    if (ctx_.stream.device == Device::plan || group_.rank() != 0) return;
    std::printf("%-26s %8.1f %14.1f %14.1f\n", name, alone, nccl, copies);
    std::fflush(stdout);
  }

  /// Median microseconds of one of kEach runs in a graph; on the plan device one run.
  double time(const std::function<void()>& enqueue) {
    if (ctx_.stream.device == Device::plan) return enqueue(), 0;
    kernels::Repeated launches;
    const auto replay = [&] {
      launches.run(ctx_.stream, [&] {
        for (int i = 0; i < kEach; ++i) enqueue();
      });
    };
    for (int i = 0; i < 4; ++i) replay();
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      kernels::synchronise(ctx_.stream);
      group_.barrier();
      require(cudaEventRecord(start_, handle()));
      replay();
      require(cudaEventRecord(stop_, handle()));
      require(cudaEventSynchronize(stop_));
      float ms = 0;
      require(cudaEventElapsedTime(&ms, start_, stop_));
      times.push_back(1e3 * ms / kEach);
    }
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
  cudaStream_t handle() const { return static_cast<cudaStream_t>(ctx_.stream.handle); }
  static cudaEvent_t event() {
    cudaEvent_t made = nullptr;
    require(cudaEventCreate(&made));
    return made;
  }

  Groups groups_;
  Communicator& group_;
  Arenas arenas_;
  Ctx ctx_;
  kernels::OwnedStream own_{Device::cuda};
  Lane lane_{Device::cuda};
  std::unique_ptr<Peers> peers_;
  cudaEvent_t start_ = event(), stop_ = event();
  Tensor rows_;
  std::vector<Product> gathered_, summed_;
};

}  // namespace
}  // namespace strait::parallel

int main(int argc, char** argv) {
  using namespace strait;
  parallel::MpiSession mpi(&argc, &argv);
  parallel::Communicator& world = mpi.world();
  if (world.alone() || !parallel::share_devices(Device::cuda, world).own_gpus) {
    std::fprintf(stderr, "comm_bench: needs several ranks and a GPU for each; mpirun -n 2\n");
    return 2;
  }
  const auto mesh = parallel::Mesh::make({.tp = world.size()}, world.rank(), world.size());
  parallel::Bench(mesh, world).run();
  return 0;
}
