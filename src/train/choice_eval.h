#pragma once

#include <string>
#include <vector>

#include "input/choice_task.h"
#include "train/engine.h"

namespace strait::train {

/// A task with its choices as ids.
struct ChoiceTask {
  std::string name;
  std::vector<input::ChoiceItem> items;
  std::vector<input::EncodedChoice> choices;  // of all items, one after another
};

/// Opens the tasks that eval.tasks lists ("hellaswag=file.jsonl, ..."), at most eval.task_items of
/// each. Throws InputError naming the file, or the task and those there are.
std::vector<ChoiceTask> open_choice_tasks(const config::Config& config,
                                          const input::Tokenizer& tokenizer);

struct ChoiceResult {
  std::string name;
  std::int64_t items = 0;
  double accuracy = 0;             // the choice of the largest log-likelihood is right
  double accuracy_normalised = 0;  // the same, each divided by its characters
  double standard_error = 0;       // of accuracy
  double standard_error_normalised = 0;
  std::vector<double> log_likelihoods = {};  // of every choice, in nats
};

/// Log-likelihood of every choice's continuation, in nats. Collective over the mesh; the same on
/// every rank.
std::vector<double> score_choices(Engine& engine, const std::vector<input::EncodedChoice>& choices);

ChoiceResult evaluate_choices(Engine& engine, const ChoiceTask& task);

}  // namespace strait::train
