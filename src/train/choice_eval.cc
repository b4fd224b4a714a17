#include "train/choice_eval.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "config/load.h"
#include "config/task_list.h"
#include "core/error.h"
#include "input/samples.h"
#include "train/evaluate.h"

namespace strait::train {
namespace {

/// A row of a batch: whole choices, one after another.
using Row = std::vector<std::size_t>;

/// Choices packed into rows in their order. Several share a row only where each is a document of
/// its own to the model, positions included, and a row lies on one rank.
std::vector<Row> rows_of(const Engine& engine, const std::vector<input::EncodedChoice>& choices) {
  const config::Config& config = engine.config();
  const bool share = config.model.attention.rope.positions == config::RopePositions::document &&
                     engine.mesh().cp == 1;
  std::vector<Row> rows;
  std::int64_t used = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const std::int64_t inputs = std::ssize(choices[i].tokens) - 1;
    if (rows.empty() || !share || used + inputs > config.data.seq_len) {
      rows.emplace_back();
      used = 0;
    }
    rows.back().push_back(i);
    used += inputs;
  }
  return rows;
}

/// Writes a row and notes which choice each position's label belongs to.
void write_row(const Row& row, const std::vector<input::EncodedChoice>& choices, std::int64_t at,
               input::Samples& out, std::vector<std::size_t>& owner) {
  for (const std::size_t choice : row) {
    const auto& [tokens, scored] = choices[choice];
    const std::int64_t inputs = std::ssize(tokens) - 1;
    std::copy_n(tokens.begin(), inputs, out.ids.begin() + at);
    std::copy_n(tokens.end() - scored, scored, out.labels.begin() + at + inputs - scored);
    std::iota(out.doc_pos.begin() + at, out.doc_pos.begin() + at + inputs, 0);
    std::fill_n(owner.begin() + at, inputs, choice);
    at += inputs;
  }
}

double standard_error(double mean, std::int64_t items) {
  return items > 1 ? std::sqrt(mean * (1 - mean) / static_cast<double>(items - 1)) : 0;
}

}  // namespace

std::vector<ChoiceTask> open_choice_tasks(const config::Config& config,
                                          const input::Tokenizer& tokenizer) {
  std::vector<ChoiceTask> tasks;
  for (const auto& [name, path] : config::task_list(config.eval.tasks)) {
    if (!input::is_choice_task(name)) {
      throw core::InputError("eval.tasks: unknown task \"" + name +
                             "\"; known: hellaswag, arc_easy, arc_challenge, piqa, winogrande");
    }
    if (path.empty()) {
      throw core::InputError("eval.tasks: \"" + name + "\" has no file; expected " + name +
                             "=FILE of its items, such as " + name + "=valid.jsonl");
    }
    ChoiceTask task{
        .name = name, .items = input::read_choice_items(name, config::locate(path)), .choices = {}};
    const std::int64_t most = config.eval.task_items;
    if (most > 0 && most < std::ssize(task.items)) {
      task.items.erase(task.items.begin() + most, task.items.end());
    }
    for (const input::ChoiceItem& item : task.items) {
      for (const input::Choice& choice : item.choices) {
        try {
          task.choices.push_back(input::encode_choice(choice, tokenizer, config.data.seq_len));
        } catch (const core::InputError& error) {
          throw core::InputError(item.place + ": " + error.what());
        }
      }
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

std::vector<double> score_choices(Engine& engine,
                                  const std::vector<input::EncodedChoice>& choices) {
  parallel::Ctx& ctx = engine.ctx();
  const std::vector<Row> rows = rows_of(engine, choices);
  const std::int64_t length = engine.config().data.seq_len, per_batch = engine.micro_batch();
  std::vector<double> scores(choices.size(), 0.0);
  input::Samples samples;
  samples.resize(per_batch, length);
  std::vector<std::size_t> owner(samples.ids.size());
  const std::int64_t ranks = engine.mesh().dp;
  // Every rank runs as many batches, since layers may communicate: the last may be empty.
  for (std::int64_t round = 0; round * ranks * per_batch < std::ssize(rows); ++round) {
    const std::int64_t batch = round * ranks + engine.mesh().dp_rank;
    std::ranges::fill(samples.ids, 0);
    std::ranges::fill(samples.labels, input::kIgnoredLabel);
    std::ranges::fill(samples.doc_pos, 0);
    for (std::int64_t i = 0; i < per_batch && batch * per_batch + i < std::ssize(rows); ++i) {
      write_row(rows[static_cast<std::size_t>(batch * per_batch + i)], choices, i * length, samples,
                owner);
    }
    ctx.tokens = &engine.shard().load(samples.ids, samples.labels, samples.doc_pos, ctx.stream);
    const TokenLosses tokens = token_losses(engine);
    const std::int64_t local = std::ssize(tokens.loss) / per_batch;  // of a row, on this rank
    for (std::size_t t = 0; t < tokens.loss.size(); ++t) {
      if (tokens.labels[t] == input::kIgnoredLabel) continue;
      // With a row on one rank the places agree; else the row holds a single choice.
      const std::size_t at =
          local == length ? t
                          : t / static_cast<std::size_t>(local) * static_cast<std::size_t>(length);
      scores[owner[at]] -= tokens.loss[t];
    }
  }
  const Tensor all(scores.data(), DType::f64, {std::ssize(scores)});
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
    ctx.groups.axis(axis).all_reduce_sum(all, Stream{});
  }
  return scores;
}

ChoiceResult evaluate_choices(Engine& engine, const ChoiceTask& task) {
  std::vector<double> scores = score_choices(engine, task.choices);
  std::int64_t right = 0, right_normalised = 0;
  auto score = scores.cbegin();
  for (const input::ChoiceItem& item : task.items) {
    std::vector<double> sums, means;
    for (const input::Choice& choice : item.choices) {
      sums.push_back(*score++);
      means.push_back(sums.back() /
                      static_cast<double>(std::max<std::int64_t>(choice.characters, 1)));
    }
    right += std::ranges::max_element(sums) - sums.begin() == item.answer;
    right_normalised += std::ranges::max_element(means) - means.begin() == item.answer;
  }
  const std::int64_t items = std::ssize(task.items);
  ChoiceResult result{.name = task.name, .items = items};
  result.accuracy = static_cast<double>(right) / static_cast<double>(items);
  result.accuracy_normalised = static_cast<double>(right_normalised) / static_cast<double>(items);
  result.standard_error = standard_error(result.accuracy, items);
  result.standard_error_normalised = standard_error(result.accuracy_normalised, items);
  result.log_likelihoods = std::move(scores);
  return result;
}

}  // namespace strait::train
