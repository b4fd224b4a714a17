#include "config/validate.h"

#include <algorithm>
#include <cmath>

#include "config/data_list.h"
#include "config/reject.h"
#include "config/rules.h"
#include "config/schema.h"

namespace strait::config {
namespace {

bool is_model_key(const Key& key) {
  return key.path.starts_with("model.");
}

/// Parsing has looked at ranges already; a config may also be filled by code (an import).
void validate_ranges(const Rules& rules) {
  for (const Key& key : schema()) {
    if (accepts(key, key.get(rules.config()))) continue;
    rules.fail(key.path, "out of range; expected " + expected(key));
  }
}

void validate_presence(const Rules& rules, const Origins& origins) {
  const bool model_comes_later = awaits_import(rules.config());
  for (const Key& key : schema()) {
    if (!key.required || key.get(rules.config()) != default_of(key)) continue;
    if (model_comes_later && is_model_key(key)) continue;
    reject(origins.of(key.path), key.path + ": missing; expected " + expected(key) + " (" +
                                     std::string(key.meaning) + "), for example --set " + key.path +
                                     (key.type == Type::text ? "=data/sample.txt" : "=4"));
  }
}

void validate_run(const Rules& rules) {
  const std::string& name = rules.config().run.name;
  if (name.find('/') != std::string::npos || name == "." || name == "..") {
    rules.fail("run.name",
               "names a folder inside runs/, so it may hold no '/'; to choose another "
               "place set run.dir");
  }
}

void validate_data(const Rules& rules) {
  const Data& data = rules.config().data;
  if (!data.val.empty() && data.val_documents != Data{}.val_documents) {
    rules.fail("data.val_documents",
               "has no effect with " + rules.quote("data.val") + "; leave one of the two out");
  }
  if (data.train == kRandomTokens && data.val_documents != Data{}.val_documents) {
    rules.fail("data.val_documents", "has no effect with " + rules.quote("data.train") +
                                         ": random ids form no documents; leave it out");
  }
  const std::vector<DataPart> parts = data_parts(data.train);
  const auto weighted = std::ranges::count_if(parts, [](auto& part) { return part.share > 0; });
  if (weighted != 0 && weighted != std::ssize(parts)) {
    rules.fail("data.train", "names datasets with and without a share; give all or none one");
  }
  for (const DataPart& part : data_parts(data.val)) {
    if (part.share > 0) rules.fail("data.val", "validation takes no shares; leave them out");
  }
  if (data.tokenizer.empty()) {
    rules.fail("data.tokenizer", "expected the name of a tokenizer; \"bytes\" needs no file");
  }
}

void validate_optim(const Rules& rules) {
  const Optim& optim = rules.config().optim;
  const std::int64_t steps = rules.config().train.steps;
  if (optim.kind != OptimKind::muon) rules.expect_unused("optim.muon", "optim.kind");
  if (optim.warmup_steps > steps) {
    rules.fail("optim.warmup_steps", "must be at most " + rules.quote("train.steps") +
                                         "; shorten the warm-up or train longer");
  }
  if (optim.schedule != ScheduleKind::wsd) {
    if (optim.decay_fraction != Optim{}.decay_fraction) {
      rules.fail("optim.decay_fraction", "has no effect with " + rules.quote("optim.schedule") +
                                             "; leave it out or set optim.schedule to wsd");
    }
    return;
  }
  const double decay_steps = std::ceil(optim.decay_fraction * static_cast<double>(steps));
  if (static_cast<double>(optim.warmup_steps) + decay_steps > static_cast<double>(steps)) {
    rules.fail("optim.decay_fraction", "decay and " + rules.quote("optim.warmup_steps") +
                                           " overlap within " + rules.quote("train.steps") +
                                           "; lower either of the two");
  }
}

void validate_train(const Rules& rules) {
  const Train& train = rules.config().train;
  if (train.micro_batch > 0 && train.batch_size % train.micro_batch != 0) {
    rules.fail("train.batch_size", "must be divisible by " + rules.quote("train.micro_batch") +
                                       "; try " +
                                       multiples_near(train.batch_size, train.micro_batch));
  }
}

void validate_precision(const Rules& rules) {
  const Precision& precision = rules.config().precision;
  if (precision.gradients == Storage::bf16 && precision.compute != Compute::bf16) {
    rules.fail("precision.gradients", "goes with precision.compute = \"bf16\" alone, not with " +
                                          rules.quote("precision.compute") + "; set it to wide");
  }
  if (precision.gradients == Storage::bf16 && is_cca(rules.config().model.attention.kind)) {
    rules.fail("precision.gradients", "the convolutions of " + rules.quote("model.attention.kind") +
                                          " add up their gradients in float32; set it to wide");
  }
}

void validate_guard(const Rules& rules) {
  if (rules.config().guard.non_finite != OnBadStep::off) return;
  rules.fail("guard.non_finite",
             "cannot be off: a step without numbers is never made; expected stop, skip or rewind");
}

void validate_eval(const Rules& rules) {
  const Eval& eval = rules.config().eval;
  if (eval.sample_tokens == 0 && !eval.sample_prompt.empty()) {
    rules.fail("eval.sample_prompt", "has no effect with " + rules.quote("eval.sample_tokens") +
                                         "; set eval.sample_tokens, for example to 200");
  }
}

}  // namespace

void validate(const Config& config, const Origins& origins) {
  const Rules rules(config, origins);
  validate_ranges(rules);
  validate_presence(rules, origins);
  validate_run(rules);
  if (!awaits_import(config)) {
    validate_attention(rules);
    validate_ffn(rules);
    validate_parallel(rules);
  }
  validate_data(rules);
  validate_optim(rules);
  validate_train(rules);
  validate_precision(rules);
  validate_guard(rules);
  validate_eval(rules);
}

}  // namespace strait::config
