#include "train/memory_check.h"

#include "core/error.h"
#include "tests/model/model_run.h"
#include "tests/support/message_of.h"

namespace strait::test {
namespace {

using config::AttentionKind;

const Documents kDocuments = {{30, 2}, {32}, {16, 16}, {32}};

std::string refusal(std::size_t available, int ranks = 1) {
  const config::Config config = small_config(with_attention(AttentionKind::ccgqa), kDocuments, {});
  const parallel::Mesh mesh;
  parallel::Groups groups;
  train::Engine engine(config, mesh, groups);
  const train::StepPlan plan = train::plan_step(engine);
  return message_of<core::InputError>([&] {
    train::require_memory(plan, {"a small device", available, ranks}, config, mesh, groups);
  });
}

std::size_t needed() {
  const config::Config config = small_config(with_attention(AttentionKind::ccgqa), kDocuments, {});
  const parallel::Mesh mesh;
  parallel::Groups groups;
  train::Engine engine(config, mesh, groups);
  return train::plan_step(engine).total_bytes();
}

TEST(MemoryCheck, LetsPassWhatFitsAndWhatIsNotKnown) {
  EXPECT_EQ(refusal(needed()), "");
  EXPECT_EQ(refusal(0), "");
}

TEST(MemoryCheck, NamesCategoriesAndWhatWouldFit) {
  const std::string text = refusal(needed() - 1);
  for (const char* part :
       {"on a small device (1 x ", "activations", "optimizer",
        "train.recompute=ffn: ", "train.recompute=block: ", "train.micro_batch=2: ",
        "train.micro_batch=1: ", "precision.states=bf16: ", "all of these: "}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is missing in:\n" << text;
  }
  // One byte too much: every saving is enough.
  EXPECT_EQ(text.find("does not fit"), std::string::npos) << text;
}

TEST(MemoryCheck, NamesWhatRanksTakeToMeet) {
  config::Config config = small_config(with_attention(AttentionKind::ccgqa), kDocuments, {});
  config.parallel.tp = 2;
  config.model.ffn.d_ff = 8;
  const parallel::Mesh mesh{.tp = 2};
  auto groups = parallel::Groups::planned(mesh, {.own_gpus = true});
  train::Engine engine(config, mesh, groups);
  try {
    train::require_memory(train::plan_step(engine), {"a small device", 1 << 20, 1}, config, mesh,
                          groups);
    FAIL() << "fits";
  } catch (const core::InputError& error) {
    // Two rings of 24 channels, and what NCCL takes once.
    EXPECT_NE(std::string(error.what()).find("communication     806.00 MiB"), std::string::npos)
        << error.what();
  }
}

TEST(MemoryCheck, SaysWhenNothingHelps) {
  const std::string text = refusal(100);
  EXPECT_NE(text.find("all of these: "), std::string::npos) << text;
  EXPECT_EQ(text.find(", fits"), std::string::npos) << text;
}

TEST(MemoryCheck, CountsEveryRankThatSharesTheDevice) {
  EXPECT_NE(refusal(2 * needed() - 1, 2).find("(2 x "), std::string::npos);
  EXPECT_EQ(refusal(2 * needed(), 2), "");
}

}  // namespace
}  // namespace strait::test
