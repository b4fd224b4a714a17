#include <vector>

#include "config/schema_key.h"

namespace strait::config {
namespace {

const Range kCount = between(0, kMaxCount);
const Range kCountFromOne = between(1, kMaxCount);

void append_run(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::run, &Run::name>(
      "run.name", {"", "name of the run; empty: the config's file name"}));
  keys.push_back(make_key<&Config::run, &Run::dir>(
      "run.dir", {"", "folder of results; empty: runs/<name>-<UTC time>"}));
  keys.push_back(make_key<&Config::run, &Run::seed>(
      "run.seed",
      {"integer", "of initial weights and data order", between(0, 9007199254740992.0)}));
  keys.push_back(make_key<&Config::run, &Run::device>(
      "run.device", {"", "where kernels run; auto: cuda when there is one, else cpu"}));
}

void append_init_and_data(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::init, &Init::from>(
      "init.from", {"",
                    "Hugging Face folder whose weights and model shape to start from; empty: "
                    "random weights"}));
  keys.push_back(make_key<&Config::data, &Data::train>(
      "data.train",
      {"",
       "training text (.txt) or tokens: files, patterns such as web-*.tok, or several with shares "
       "of the tokens, as in \"web-*.tok=0.7, code.tok=0.3\" (without shares: by size); random: "
       "uniform random ids of the model's vocabulary, for benchmarks",
       {},
       true}));
  keys.push_back(make_key<&Config::data, &Data::val>(
      "data.val",
      {"", "validation text or tokens, several apart by commas; empty: from data.train"}));
  keys.push_back(make_key<&Config::data, &Data::val_documents>(
      "data.val_documents", {"documents",
                             "held out from the end of each dataset of data.train when data.val is "
                             "empty; 0: no validation",
                             kCount}));
  keys.push_back(make_key<&Config::data, &Data::format>(
      "data.format",
      {"", "of token files; auto: by their magic; uint16: bare ids, which have none"}));
  keys.push_back(make_key<&Config::data, &Data::packing>(
      "data.packing",
      {"",
       "chunk: documents one after another, cut every seq_len; best_fit: whole documents, those "
       "longer than seq_len cut, sequences filled up"}));
  keys.push_back(make_key<&Config::data, &Data::tokenizer>(
      "data.tokenizer",
      {"",
       "\"bytes\", a SentencePiece .model, a tokenizer.json, or a folder with one or with "
       "vocab.json and merges.txt"}));
  keys.push_back(make_key<&Config::data, &Data::seq_len>(
      "data.seq_len", {"tokens", "length of a packed sequence, S", between(1, kMaxSize)}));
  keys.push_back(make_key<&Config::data, &Data::document_mask>(
      "data.document_mask",
      {"", "attention, convolutions and value shift restart at every document"}));
}

void append_muon(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::optim, &Optim::muon, &Muon::momentum>(
      "optim.muon.momentum", {"ratio", "decay of the gradients' sum", below(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::muon, &Muon::nesterov>(
      "optim.muon.nesterov", {"", "adds the newest gradient once more to what is orthogonalised"}));
  keys.push_back(make_key<&Config::optim, &Optim::muon, &Muon::coefficients>(
      "optim.muon.coefficients",
      {"", "polynomials of the five Newton-Schulz steps; original: the same one five times"}));
  keys.push_back(make_key<&Config::optim, &Optim::muon, &Muon::scale>(
      "optim.muon.scale",
      {"",
       "of a step of [out, in]; adamw_rms: 0.2 sqrt(max(out, in)), for learning rates of AdamW; "
       "aspect: sqrt(max(1, out / in)); unit_rms: sqrt(out / in)"}));
}

void append_optim(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::optim, &Optim::kind>(
      "optim.kind",
      {"", "optimizer of hidden matrices; muon: embedding, head and vectors stay with adamw"}));
  keys.push_back(make_key<&Config::optim, &Optim::lr>(
      "optim.lr", {"per step", "peak learning rate", above(0, 10)}));
  keys.push_back(make_key<&Config::optim, &Optim::schedule>(
      "optim.schedule", {"", "course of the learning rate after warm-up"}));
  keys.push_back(make_key<&Config::optim, &Optim::warmup_steps>(
      "optim.warmup_steps", {"steps", "linear warm-up from 0", kCount}));
  keys.push_back(make_key<&Config::optim, &Optim::min_lr_ratio>(
      "optim.min_lr_ratio", {"ratio", "last learning rate over optim.lr", between(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::decay_fraction>(
      "optim.decay_fraction",
      {"ratio", "part of the steps, at the end, in which wsd decays", above(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::beta1>(
      "optim.beta1", {"ratio", "decay of the gradient's mean", below(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::beta2>(
      "optim.beta2", {"ratio", "decay of the gradient's mean square", below(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::eps>(
      "optim.eps", {"gradient", "added to the root of the mean square", above(0, 1)}));
  keys.push_back(make_key<&Config::optim, &Optim::weight_decay>(
      "optim.weight_decay", {"per lr", "decoupled, on matrices only", between(0, 1e3)}));
  keys.push_back(make_key<&Config::optim, &Optim::clip_norm>(
      "optim.clip_norm",
      {"L2 norm", "largest global gradient norm; 0: no clipping", between(0, kMaxCount)}));
  append_muon(keys);
}

void append_train(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::train, &Train::steps>(
      "train.steps", {"steps", "optimizer steps of the run", kCountFromOne, true}));
  keys.push_back(make_key<&Config::train, &Train::batch_size>(
      "train.batch_size",
      {"sequences", "per optimizer step, over all ranks", between(1, kMaxSize), true}));
  keys.push_back(make_key<&Config::train, &Train::micro_batch>(
      "train.micro_batch",
      {"sequences", "per rank and pass; 0: batch_size / dp", between(0, kMaxSize)}));
  keys.push_back(make_key<&Config::train, &Train::recompute>(
      "train.recompute", {"", "what backward computes again instead of keeping"}));
  keys.push_back(make_key<&Config::train, &Train::log_every>(
      "train.log_every", {"steps", "between lines of progress", kCountFromOne}));
}

void append_ranks(std::vector<Key>& keys) {
  const Range ranks = between(1, kMaxSize);
  keys.push_back(make_key<&Config::parallel, &Parallel::dp>(
      "parallel.dp",
      {"ranks", "that split the batch; 0: all ranks / (cp tp)", between(0, kMaxSize)}));
  keys.push_back(make_key<&Config::parallel, &Parallel::cp>(
      "parallel.cp", {"ranks", "that split the sequence", ranks}));
  keys.push_back(make_key<&Config::parallel, &Parallel::tp>(
      "parallel.tp", {"ranks", "that split heads and widths", ranks}));
  keys.push_back(make_key<&Config::parallel, &Parallel::ep>(
      "parallel.ep", {"ranks", "of dp that split the experts", ranks}));
  keys.push_back(make_key<&Config::parallel, &Parallel::cp_exchange>(
      "parallel.cp_exchange",
      {"",
       "how keys reach other cp ranks; gather: all at once, ring: one rank's at a time; auto: "
       "whichever sends less"}));
  keys.push_back(make_key<&Config::parallel, &Parallel::overlap>(
      "parallel.overlap",
      {"",
       "gradients are summed beside backward, and weights arrive beside the next forward; takes "
       "a GPU for each rank"}));
  keys.push_back(make_key<&Config::parallel, &Parallel::bucket_mib>(
      "parallel.bucket_mib",
      {"MiB", "of gradients that are summed at once, a block at least", between(0, kMaxCount)}));
  keys.push_back(make_key<&Config::parallel, &Parallel::watchdog_seconds>(
      "parallel.watchdog_seconds",
      {"seconds", "after which a run ends when a rank lets the others wait; 0: never",
       between(0, kMaxCount)}));
  keys.push_back(make_key<&Config::precision, &Precision::compute>(
      "precision.compute", {"", "number format of weights and activations in a pass"}));
  keys.push_back(make_key<&Config::precision, &Precision::residual>(
      "precision.residual",
      {"",
       "number format of the residual stream; compute: precision.compute; f32: at least that"}));
  keys.push_back(make_key<&Config::precision, &Precision::gradients>(
      "precision.gradients",
      {"", "what weight gradients add up in; wide: f32 (f64 in a double run)"}));
  keys.push_back(make_key<&Config::precision, &Precision::states>(
      "precision.states",
      {"", "optimizer states; wide: f32 (f64 in a double run); bf16: rounded stochastically"}));
}

void append_guard(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::guard, &Guard::non_finite>(
      "guard.non_finite",
      {"",
       "on a loss or gradient norm that is no number: stop, skip the step, or rewind to the "
       "last checkpoint and go on behind the data"}));
  keys.push_back(make_key<&Config::guard, &Guard::spike>(
      "guard.spike", {"", "the same on a loss or gradient norm far above those before"}));
  keys.push_back(make_key<&Config::guard, &Guard::z>(
      "guard.z", {"robust deviations", "above the median that make a spike", above(0, 1e6)}));
  keys.push_back(make_key<&Config::guard, &Guard::window>(
      "guard.window", {"steps", "that median and deviation are taken of", between(8, 1e6)}));
  keys.push_back(make_key<&Config::guard, &Guard::limit>(
      "guard.limit", {"steps", "guarded against before the run stops", kCountFromOne}));
}

void append_outputs(std::vector<Key>& keys) {
  keys.push_back(make_key<&Config::checkpoint, &Checkpoint::every>(
      "checkpoint.every",
      {"steps", "between checkpoints; 0: only at the end; -1: none", between(-1, kMaxCount)}));
  keys.push_back(make_key<&Config::checkpoint, &Checkpoint::keep>(
      "checkpoint.keep", {"checkpoints", "newest that stay on disk", kCountFromOne}));
  keys.push_back(make_key<&Config::checkpoint, &Checkpoint::keep_every>(
      "checkpoint.keep_every",
      {"steps", "checkpoints of multiples of this stay for good; 0: none", kCount}));
  append_guard(keys);
  keys.push_back(make_key<&Config::eval, &Eval::every>(
      "eval.every", {"steps", "between evaluations; 0: only at the end", kCount}));
  keys.push_back(make_key<&Config::eval, &Eval::sequences>(
      "eval.sequences", {"sequences", "of each validation dataset at most; 0: all", kCount}));
  keys.push_back(make_key<&Config::eval, &Eval::probe_every>(
      "eval.probe_every",
      {"steps",
       "between looks into the attention layers on validation tokens (largest logit, effective "
       "ranks, key temperatures, norms of taps), and one at the end; 0: none",
       kCount}));
  keys.push_back(make_key<&Config::eval, &Eval::tasks>(
      "eval.tasks",
      {"",
       "multiple choice, with the files of their items: hellaswag, arc_easy, arc_challenge, piqa, "
       "winogrande, as in \"piqa=valid.jsonl, arc_easy=ARC-Easy-Test.jsonl\""}));
  keys.push_back(make_key<&Config::eval, &Eval::task_items>(
      "eval.task_items", {"items", "of each task, the first ones; 0: all", kCount}));
  keys.push_back(make_key<&Config::eval, &Eval::sample_tokens>(
      "eval.sample_tokens",
      {"tokens", "of text to generate at the end; 0: none", between(0, kMaxSize)}));
  keys.push_back(make_key<&Config::eval, &Eval::sample_prompt>(
      "eval.sample_prompt", {"", "text that the sample continues"}));
  keys.push_back(make_key<&Config::eval, &Eval::sample_temperature>(
      "eval.sample_temperature",
      {"factor", "divides the logits of the sample; 0: always the likeliest", between(0, 1e3)}));
}

}  // namespace

void append_run_keys(std::vector<Key>& keys) {
  append_run(keys);
}

void append_training_keys(std::vector<Key>& keys) {
  append_init_and_data(keys);
  append_optim(keys);
  append_train(keys);
  append_ranks(keys);
  append_outputs(keys);
}

}  // namespace strait::config
