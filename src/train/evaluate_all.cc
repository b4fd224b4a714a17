#include "train/evaluate_all.h"

namespace strait::train {

std::vector<ChoiceResult> evaluate_all(Engine& engine, const Data& data, std::int64_t step,
                                       Metrics& metrics) {
  if (!data.validation.empty()) {
    metrics.evaluation(
        step, evaluate(engine, data.validation, *data.tokenizer, engine.config().eval.sequences));
  }
  std::vector<ChoiceResult> results;
  for (const ChoiceTask& task : data.tasks) {
    results.push_back(evaluate_choices(engine, task));
    metrics.task(step, results.back());
  }
  return results;
}

}  // namespace strait::train
