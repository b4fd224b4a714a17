#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/model/model_run.h"

namespace {

/// What passed through the global operator new and delete of this binary.
struct HeapUse {
  std::atomic<std::int64_t> live{0};    // blocks taken and not given back
  std::atomic<std::int64_t> blocks{0};  // taken since watch()
  void watch() { blocks = 0; }
};
HeapUse heap;

}  // namespace

// Not inlined, so that the compiler sees new and delete in pairs.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* block = std::malloc(bytes == 0 ? 1 : bytes);
  if (!block) throw std::bad_alloc();
  ++heap.live;
  ++heap.blocks;
  return block;
}

// What sanitizers would else pair with their own delete.
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  void* block = std::malloc(bytes == 0 ? 1 : bytes);
  if (block) {
    ++heap.live;
    ++heap.blocks;
  }
  return block;
}

[[gnu::noinline]] void operator delete(void* block) noexcept {
  if (block) --heap.live;
  std::free(block);
}

[[gnu::noinline]] void operator delete(void* block, std::size_t) noexcept {
  operator delete(block);
}

namespace strait::test {
namespace {

using config::AttentionKind;

class Allocation : public testing::TestWithParam<AttentionKind> {
 protected:
  static config::Model model() {
    return with_experts(with_attention(GetParam()), {.n_experts = 4,
                                                     .top_k = 2,
                                                     .d_expert = 5,
                                                     .n_shared = 1,
                                                     .selection_bias = true,
                                                     .bias_rate = 1e-2,
                                                     .aux_coef = 0.1});
  }
  static inline const Documents kDocuments = {{30, 1, 33}, {50, 14}};
};

TEST_P(Allocation, OrchestratingAStepTakesNoMemory) {
  for (const config::OptimKind optimizer : {config::OptimKind::adamw, config::OptimKind::muon}) {
    ModelRun run(model(), kDocuments, {.micro_batches = 2, .optimizer = optimizer});
    train::Engine planned(run.engine().config(), run.engine().mesh(), run.engine().ctx().groups);
    const auto blank = [&](std::int64_t) -> const parallel::TokenBatch& {
      return planned.shard().blank();
    };
    const train::StepInput input{.micro_batch = blank, .micro_batches = 2};
    train::Step planned_step(planned);
    planned_step.run(input);
    heap.watch();
    planned_step.run(input);
    EXPECT_EQ(heap.blocks, 0);
  }
}

TEST_P(Allocation, StepsGiveBackWhatTheirKernelsTook) {
  ModelRun run(model(), kDocuments, {.micro_batches = 2});
  const parallel::TokenBatch& tokens = run.load(0);
  const auto micro_batch = [&](std::int64_t) -> const parallel::TokenBatch& { return tokens; };
  train::Step launches(run.engine());
  const auto step = [&](std::int64_t number) {
    launches.run({.micro_batch = micro_batch, .micro_batches = 2, .lr = 1e-3, .step = number});
  };
  step(1);
  const std::int64_t live = heap.live;
  heap.watch();
  step(2);
  const std::int64_t blocks = heap.blocks;
  EXPECT_EQ(heap.live, live);
  heap.watch();
  step(3);
  EXPECT_EQ(heap.live, live);
  EXPECT_EQ(heap.blocks, blocks);
}

INSTANTIATE_TEST_SUITE_P(EveryKind, Allocation,
                         testing::Values(AttentionKind::mha, AttentionKind::gqa, AttentionKind::mla,
                                         AttentionKind::cca, AttentionKind::ccgqa));

}  // namespace
}  // namespace strait::test
