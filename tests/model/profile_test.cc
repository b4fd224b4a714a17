#include "train/profile.h"

#include <map>
#include <string>

#include "core/error.h"
#include "tests/model/model_run.h"

namespace strait::test {
namespace {

TEST(Profile, ReadsSteps) {
  const train::ProfileSteps range = train::parse_profile("steps=5:7");
  EXPECT_EQ(range.first, 5);
  EXPECT_EQ(range.last, 7);
  EXPECT_FALSE(range.covers(4));
  EXPECT_TRUE(range.covers(5));
  EXPECT_TRUE(range.covers(7));
  EXPECT_FALSE(range.covers(8));
  EXPECT_EQ(train::parse_profile("steps=3").last, 3);
  EXPECT_FALSE(train::ProfileSteps{}.covers(0));
}

TEST(Profile, RefusesWhatIsNoRange) {
  for (const char* text : {"", "5:7", "steps=", "steps=0:2", "steps=7:5", "steps=a:b", "steps=1:2x",
                           "steps=-1", "steps=1:"}) {
    try {
      train::parse_profile(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const core::InputError& error) {
      EXPECT_NE(std::string(error.what()).find("expected steps=A:B"), std::string::npos);
    }
  }
}

TEST(Profile, TimesEveryLaunchOfAStep) {
  ModelRun run(with_attention(config::AttentionKind::ccgqa), {{3, 1, 3}, {5, 2}});
  Stream& stream = run.engine().ctx().stream;
  train::OpTimer timer(stream);
  stream.observer = &timer;
  run.step(1);
  timer.stop();
  stream.observer = nullptr;
  const auto ops = timer.table();
  std::map<std::string, std::int64_t> launches;
  double before = 1e300;
  for (const train::OpTime& op : ops) {
    launches[op.op] += op.launches;
    EXPECT_LE(op.seconds, before) << "not sorted by time";
    before = op.seconds;
  }
  ASSERT_EQ(launches.size(), run.plan().ops.size());
  for (const auto& [op, count] : run.plan().ops) EXPECT_EQ(launches.at(op), count.launches) << op;
  const std::string table = train::op_table(ops, 1);
  EXPECT_NE(table.find("AttentionBwd"), std::string::npos) << table;
}

}  // namespace
}  // namespace strait::test
