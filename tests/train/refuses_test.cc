#include <gtest/gtest.h>

#include <fstream>

#include "input/token_shard.h"
#include "tests/train/program.h"

// Bad input to the program: exit code 2, one message with path, value, expectation and remedy, and
// nothing overwritten.
namespace strait::test {
namespace {

namespace fs = std::filesystem;

const std::string kShort =
    "--config tiny_ccgqa_moe --set model.n_layers=1 --set data.seq_len=32 --set train.batch_size=4"
    " --set train.steps=2 --set optim.warmup_steps=1 --set eval.sequences=2";

void expect_refused(const std::string& arguments, const std::vector<std::string>& words,
                    int ranks = 0) {
  const Outcome outcome = run_train(arguments, ranks);
  EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.output;
  for (const std::string& word : words) {
    EXPECT_NE(outcome.output.find(word), std::string::npos)
        << "no \"" << word << "\" in the message for " << arguments << "\n"
        << outcome.output;
  }
  std::size_t messages = 0;
  for (auto at = outcome.output.find("error: "); at != std::string::npos;
       at = outcome.output.find("error: ", at + 1)) {
    ++messages;
  }
  EXPECT_EQ(messages, 1u) << outcome.output;
}

/// Arguments of rank 0, and a second rank that another program or other arguments make.
std::string with_another_rank(const std::string& first, const fs::path& program,
                              const std::string& second) {
  return first + " : -n 1 " + program.string() + " " + second;
}

/// A token shard of `tokens` a's, written by the project's own writer.
fs::path make_shard(const fs::path& path, std::size_t tokens) {
  const auto tokenizer = input::make_tokenizer("bytes");
  input::TokenShardWriter writer(path, *tokenizer);
  writer.append(std::vector<std::int32_t>(tokens, 'a'));
  writer.finish();
  return path;
}

TEST(Refuses, ArgumentsThatAreNotThere) {
  expect_refused("", {"--config", "quickstart.json"});
  expect_refused("--confg tiny_mha", {"--confg", "nearest is --config"});
  expect_refused("--config", {"--config", "needs a value"});
  expect_refused("--config tiny_mhaa", {"tiny_mhaa", "tiny_mha"});
  expect_refused("--config tiny_mha --tune no_such_folder", {"--tune"});
  expect_refused("--dry-run=1 --config tiny_mha", {"--dry-run", "takes no value"});
  expect_refused("tiny_mha", {"tiny_mha", "unknown argument"});
}

TEST(Refuses, RanksOfAnotherConfigOrBuild) {
  const fs::path folder = fresh_folder("refuses/ranks"), run = folder / "run";
  const fs::path program = fs::path(STRAIT_BINARY_DIR) / "bin/train", other = folder / "train";
  const std::string arguments = kShort + " --set run.dir=" + run.string();
  expect_refused(with_another_rank(arguments, program, arguments + " --set optim.lr=0.5"),
                 {"rank 1 on ", "another config", "\"lr\": 0.5", "same files and options"}, 1);
  fs::copy_file(program, other);
  std::ofstream(other, std::ios::app) << ' ';
  expect_refused(with_another_rank(arguments, other, arguments),
                 {"rank 1 on ", "another program", "bytes, hash", "one build on all hosts"}, 1);
  EXPECT_FALSE(fs::exists(run));
}

TEST(Refuses, OneMessageFromManyRanks) {
  expect_refused("--config tiny_mha --set model.atention.kind=mha",
                 {"model.atention", "model.attention"}, 3);
  expect_refused(kShort + " --set train.batch_size=5", {"train.batch_size", "5"}, 2);
}

TEST(Refuses, DataThatCannotBeRead) {
  const fs::path folder = fresh_folder("refuses/data");
  const auto with = [](const fs::path& path) {
    return kShort + " --set data.train=" + path.string();
  };
  expect_refused(with(folder / "none.txt"), {"none.txt", "data.train"});
  write_text(folder / "empty.txt", "");
  expect_refused(with(folder / "empty.txt"), {"empty.txt"});
  write_text(folder / "short.txt", "a\n<|endoftext|>\nb\n");
  expect_refused(with(folder / "short.txt"), {"seq_len"});
  write_text(folder / "empty.tok", "");
  expect_refused(with(folder / "empty.tok"), {"empty.tok"});
  const fs::path shard = make_shard(folder / "cut.tok", 4000);
  fs::resize_file(shard, fs::file_size(shard) - 3);
  expect_refused(with(shard), {"cut.tok", "token_count"});
  expect_refused(with(folder), {folder.string()});
}

TEST(Refuses, TokensOutsideTheVocabulary) {
  const fs::path folder = fresh_folder("refuses/vocab");
  const fs::path shard = make_shard(folder / "odd.tok", 4000);
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(sizeof(input::ShardHeader) + 2 * 100);
    const std::uint16_t id = 999;
    file.write(reinterpret_cast<const char*>(&id), sizeof id);
  }
  const std::string run = (folder / "run").string();
  expect_refused(kShort + " --set data.val_documents=0 --set run.dir=" + run +
                     " --set data.train=" + shard.string(),
                 {"odd.tok", "999"});
  expect_refused(kShort + " --set model.vocab_size=100", {"vocab_size", "257"});
}

TEST(Refuses, RunFoldersThatCannotBe) {
  const fs::path folder = fresh_folder("refuses/folder");
  write_text(folder / "file", "in the way");
  expect_refused(kShort + " --set run.dir=" + (folder / "file/run").string(),
                 {"run.dir", "file/run"});
  EXPECT_EQ(read_text(folder / "file"), "in the way");
}

TEST(Refuses, ARunThatIsAlreadyThere) {
  const fs::path folder = fresh_folder("refuses/again") / "run";
  const std::string command = kShort + " --set run.dir=" + folder.string();
  ASSERT_EQ(run_train(command).code, 0);
  const std::string metrics = read_text(folder / "metrics.jsonl");
  const std::string config = read_text(folder / "config.json");
  ASSERT_FALSE(metrics.empty());
  expect_refused(command, {"run.dir", folder.string(), "--resume"});
  EXPECT_EQ(read_text(folder / "metrics.jsonl"), metrics);
  EXPECT_EQ(read_text(folder / "config.json"), config);
}

TEST(Refuses, ResumesThatCannotBe) {
  const fs::path folder = fresh_folder("refuses/resume");
  expect_refused("--resume " + (folder / "none").string(), {"none", "config.json"});
  expect_refused(kShort + " --resume --set run.dir=" + (folder / "none").string(),
                 {"holds no run"});
  const fs::path run = folder / "run";
  ASSERT_EQ(run_train(kShort + " --set run.dir=" + run.string()).code, 0);
  expect_refused("--resume " + run.string() + " --set model.d_model=64 --set train.steps=4",
                 {"model.d_model", "96", "64"});
  expect_refused("--resume " + run.string() + " --set run.seed=7 --set train.steps=4",
                 {"run.seed", "1", "7"});
  expect_refused("--resume " + run.string() + " --set optim.kind=muon --set train.steps=4",
                 {"optim.kind", "adamw", "muon"});
}

TEST(Refuses, ResumesWithoutATraceInTheFolder) {
  const fs::path run = fresh_folder("refuses/trace") / "run";
  ASSERT_EQ(run_train(kShort + " --set run.dir=" + run.string()).code, 0);
  const auto entries = [&] {
    return std::distance(fs::directory_iterator(run), fs::directory_iterator());
  };
  const auto before = entries();
  const std::string log = read_text(run / "log.txt");
  expect_refused("--resume " + run.string() + " --set run.seed=7 --set train.steps=4",
                 {"run.seed"});
  EXPECT_EQ(entries(), before);
  EXPECT_EQ(read_text(run / "log.txt"), log);
}

TEST(Refuses, ImportsWithoutTakingTheFolder) {
  const fs::path folder = fresh_folder("refuses/import"), run = folder / "run";
  write_text(folder / "hf/config.json", "{}");
  const std::string command = kShort + " --set run.dir=" + run.string();
  expect_refused(command + " --set init.from=" + (folder / "hf").string(), {"model.safetensors"});
  EXPECT_EQ(run_train(command).code, 0) << "the refused run is in the way";
}

TEST(Resumes, OnMoreRanksThanTheMicroBatchWasMadeFor) {
  const fs::path run = fresh_folder("refuses/more_ranks") / "run";
  ASSERT_EQ(run_train(kShort + " --set run.dir=" + run.string()).code, 0);
  const std::string more = "--resume " + run.string() + " --set train.steps=4";
  expect_refused(more + " --set train.micro_batch=4", {"--set train.micro_batch=4"}, 2);
  const Outcome outcome = run_train(more, 2);
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST(Refuses, ProfilesOfStepsThatAreNotTrained) {
  const fs::path run = fresh_folder("refuses/profile") / "run";
  const std::string command = kShort + " --set run.dir=" + run.string();
  expect_refused(command + " --profile steps=3:4", {"steps=3:4", "steps 1 to 2", "train.steps"});
  EXPECT_FALSE(fs::exists(run));
  ASSERT_EQ(run_train(command + " --profile steps=2:9").code, 0);
  EXPECT_TRUE(fs::exists(run / "profile.json"));
  expect_refused("--resume " + run.string() + " --set train.steps=4 --profile steps=1:2",
                 {"steps=1:2", "steps 3 to 4"});
}

TEST(Refuses, FoldersThatHoldNoModel) {
  const fs::path folder = fresh_folder("refuses/model");
  const std::string place = folder.string();
  const auto expect = [](const std::string& program, const std::string& arguments,
                         const std::string& words) {
    const Outcome outcome = run_program(program, arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.output;
    EXPECT_NE(outcome.output.find(words), std::string::npos) << outcome.output;
  };
  expect("export", "--run " + place + " --to " + place + "/out",
         "--run " + place + ": holds no run (no config.json); name a run folder");
  expect("generate", "--run " + place + " --prompt a", place + ": holds no run");
  expect("generate", "--hf " + place + " --prompt a", place + ": has no config.json");
  expect("generate", "--hf " + place + " --prompt a --prompt-tokens 1", "leave one out");
  expect("generate", "--hf " + place + " --tokens 99999999", "a whole number from 1 to 16777216");
}

TEST(Warns, OfTextLongerThanTheModelWasTrainedOn) {
  const fs::path run = fresh_folder("warns/length") / "run";
  ASSERT_EQ(run_train(kShort + " --set run.dir=" + run.string()).code, 0);
  const std::string words = "was trained on data.seq_len = 32";
  const auto said = [&](const std::string& tokens) {
    const Outcome outcome =
        run_program("generate", "--run " + run.string() + " --prompt abcd --tokens " + tokens);
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    return outcome.output.find(words) != std::string::npos;
  };
  EXPECT_TRUE(said("29"));
  EXPECT_FALSE(said("28"));
}

TEST(Refuses, ModelsThatDoNotFit) {
  expect_refused("--config ccgqa_moe --set train.batch_size=8 --set train.micro_batch=8",
                 {"GiB", "weights", "activations", "train.micro_batch"});
}

TEST(Refuses, ValuesOfOptionsByTheirName) {
  expect_refused(kShort + " --set init.from=/no/such", {"--set init.from=/no/such: init.from"});
  expect_refused("--config tiny_mha --set data.tokenizer=none.model",
                 {"--set data.tokenizer=none.model: data.tokenizer = ", "known: bytes"});
  expect_refused("--config tiny_mha --set eval.tasks=piqa", {"eval.tasks", "piqa=FILE"});
  expect_refused("--config tiny_mha --resume --set run.name=none", {"--resume: names no run"});
}

TEST(Output, ThatIsNotTakenIsAFault) {
  for (const char* arguments : {"--config tiny_mha > /dev/full", "--help > /dev/full"}) {
    EXPECT_EQ(run_program("plan", arguments).code, 3) << arguments;
  }
  EXPECT_EQ(run_train("--help-config > /dev/full").code, 3);
  EXPECT_EQ(run_train("--config tiny_mha --dry-run > /dev/full").code, 3);
}

TEST(Helps, WithUsageAndKeys) {
  const Outcome help = run_train("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* word :
       {"--config", "--set", "--resume", "--dry-run", "--help-config", "exit codes: 0 well"}) {
    EXPECT_NE(help.output.find(word), std::string::npos) << word;
  }
  const Outcome keys = run_train("--help-config");
  EXPECT_EQ(keys.code, 0);
  EXPECT_NE(keys.output.find("model.attention.cca.convs"), std::string::npos);
}

TEST(Helps, DryRunTrainsNothing) {
  const fs::path run = fresh_folder("refuses/dry") / "run";
  const Outcome outcome = run_train(kShort + " --dry-run --set run.dir=" + run.string());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("\"n_layers\": 1"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("activations"), std::string::npos);
  EXPECT_FALSE(fs::exists(run));
}

}  // namespace
}  // namespace strait::test
