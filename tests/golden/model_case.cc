#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "core/process_memory.h"
#include "io/hf_import.h"
#include "io/json_text.h"
#include "io/name_map.h"
#include "io/part_copy.h"
#include "kernels/elementwise.h"
#include "tests/golden/case.h"
#include "train/memory_check.h"

namespace strait::golden {
namespace {

// Norms, RoPE tables and softmax of the reference were computed in float32.
constexpr double kResolution = 1e-7;

using Names = std::vector<std::string>;
using Values = std::map<std::string, std::vector<double>>;

/// What the model computes on the reference's tokens.
struct Run {
  double loss = 0;                 // mean over the labels, nats
  std::vector<double> logits;      // [B, S, V]
  std::vector<double> token_loss;  // [B, S - 1]
};

/// The tokens of a case; labels are the next tokens, the last position of a sequence has none.
struct Tokens {
  std::int64_t sequences = 0, seq_len = 0;
  std::vector<std::int32_t> ids, labels, doc_pos;
  std::int64_t counted() const { return sequences * (seq_len - 1); }
};

Tokens read_tokens(const io::SafetensorsReader& reference, std::int64_t vocab) {
  const std::vector<std::int64_t> shape = reference.info("input_ids").shape;
  const bool usable = shape.size() == 2 && shape[0] > 0 && shape[1] > 1;
  if (!usable) {
    throw core::InputError(reference.origin() + ": input_ids is " + io::describe(shape) +
                           ", expected [B, S] with at least one sequence of two tokens");
  }
  const std::vector<std::int64_t> ids = reference.read<std::int64_t>("input_ids");
  Tokens tokens{.sequences = shape[0], .seq_len = shape[1], .ids = {}, .labels = {}, .doc_pos = {}};
  for (std::size_t t = 0; t < ids.size(); ++t) {
    if (ids[t] < 0 || ids[t] >= vocab) {
      throw core::InputError(reference.origin() + ": input_ids holds " + std::to_string(ids[t]) +
                             ", the model has " + std::to_string(vocab) + " tokens");
    }
    const auto at = static_cast<std::int64_t>(t) % tokens.seq_len;
    const bool last = at == tokens.seq_len - 1;
    tokens.ids.push_back(static_cast<std::int32_t>(ids[t]));
    tokens.labels.push_back(last ? -1 : static_cast<std::int32_t>(ids[t + 1]));
    tokens.doc_pos.push_back(static_cast<std::int32_t>(at));
  }
  return tokens;
}

/// Refuses a checkpoint of other shapes than its config says before memory is asked for.
void check_shapes(const std::filesystem::path& folder, const config::Model& model) {
  const io::SafetensorsReader checkpoint(folder);
  for (const io::NameMapEntry& entry : io::name_map(model)) {
    if (checkpoint.info(entry.hf).shape == entry.shape) continue;
    throw core::InputError(checkpoint.origin() + ": " + entry.hf + " is " +
                           io::describe(checkpoint.info(entry.hf)) + ", config.json needs " +
                           io::describe(entry.shape));
  }
}

config::Config config_for(const config::Model& model, const Tokens& tokens,
                          config::Compute compute) {
  config::Config config;
  config.model = model;
  config.data.seq_len = tokens.seq_len;
  config.train.batch_size = config.train.micro_batch = tokens.sequences;
  config.precision.compute = compute;
  return config;
}

/// Loss, logits and gradients of the batch in ctx.tokens. In the plan it only measures memory.
Run run_batch(train::Engine& engine, const Tokens& tokens) {
  parallel::Ctx& ctx = engine.ctx();
  const core::Frame frame(ctx.scratch);
  const std::int64_t count = ctx.tokens->tokens(), vocab = engine.config().model.vocab_size;
  const DType dtype = engine.table().dtype();
  const Tensor logits = ctx.scratch.take(dtype, {count, vocab});
  const Tensor losses = ctx.scratch.take(kernels::stat_dtype(dtype), {count});
  Run run;
  engine.model().begin_step(ctx);
  engine.model().logits(ctx, 0, logits);
  engine.model().evaluate(ctx, losses);
  engine.model().begin_step(ctx);
  const double labels = static_cast<double>(tokens.counted());
  ctx.scale.per_sequence = 1.0 / static_cast<double>(tokens.sequences);
  kernels::launch(kernels::Fill{.x = engine.values().slice(0, 0, 1), .value = 1.0 / labels},
                  ctx.stream);
  engine.model().forward_backward(ctx);
  run.loss = download(engine.model().loss_sum(), ctx.stream).front() / labels;
  run.logits = download(logits, ctx.stream);
  const std::vector<double> all = download(losses, ctx.stream);
  for (std::size_t t = 0; t < all.size(); ++t) {
    if (tokens.labels[t] >= 0) run.token_loss.push_back(all[t]);
  }
  ctx.state.release(0);
  return run;
}

/// Gradients of a table by Hugging Face name, one per entry of the name map.
Values gradients_of(const core::ParamTable& table, const config::Model& model,
                    const Stream& stream) {
  const std::vector<core::Part> all = table.parts();
  std::map<std::string, const core::Part*> parts;
  for (const core::Part& part : all) parts[part.name] = &part;
  Values gradients;
  for (const io::NameMapEntry& entry : io::name_map(model)) {
    if (entry.constant) continue;
    const core::Part& part = *parts.at(entry.part);
    if (!part.param->spec.trainable) continue;
    Tensor view = io::whole_view(part, part.param->grad);
    if (entry.expert >= 0) view = view.slice(0, entry.expert, 1);
    std::vector<double>& whole = gradients[entry.hf];
    std::int64_t elements = 1;
    for (const std::int64_t size : entry.shape) elements *= size;
    whole.resize(static_cast<std::size_t>(elements));
    const std::vector<double> own = download(view, stream);
    io::scatter(entry.view, std::span(own), std::span(whole));
  }
  return gradients;
}

/// Names of our gradients that make up the reference's tensor `name`, in the order of its rows:
/// expert gradients may be fused there, [E, 2F, D] with the gate's rows first and [E, D, F], and a
/// tied head is the embedding.
std::vector<std::string> pieces_of(const std::string& name, const config::Model& model) {
  const std::string fused = ".experts.gate_up_proj", down = ".experts.down_proj";
  if (model.tie_embeddings && name == "lm_head.weight") return {"model.embed_tokens.weight"};
  const bool gate_up = name.ends_with(fused);
  if (!gate_up && !name.ends_with(down)) return {name};
  const std::string prefix = name.substr(0, name.rfind('.') + 1);
  std::vector<std::string> pieces;
  for (std::int64_t expert = 0; expert < model.ffn.moe.n_experts; ++expert) {
    const std::string at = prefix + std::to_string(expert) + ".";
    if (gate_up) pieces.push_back(at + "gate_proj.weight");
    pieces.push_back(at + (gate_up ? "up_proj.weight" : "down_proj.weight"));
  }
  return pieces;
}

/// Every gradient of the reference against ours, and none of ours left out.
Worst compare_gradients(const io::SafetensorsReader& reference, const Values& gradients,
                        const config::Model& model) {
  static const std::string kPrefix = "grad.";
  Comparison comparison(kResolution);
  std::set<std::string> seen;
  for (const std::string& stored : reference.names()) {
    if (!stored.starts_with(kPrefix)) continue;
    const std::string name = stored.substr(kPrefix.size());
    std::vector<double> got;
    const bool whole = gradients.contains(name);
    for (const std::string& piece : whole ? Names{name} : pieces_of(name, model)) {
      const auto found = gradients.find(piece);
      if (found == gradients.end()) {
        throw core::InputError(reference.origin() + ": the model has no parameter for " +
                               io::printable(stored));
      }
      got.insert(got.end(), found->second.begin(), found->second.end());
      seen.insert(piece);
    }
    comparison.add(name, got, read_floats(reference, stored, reference.info(stored).shape));
  }
  for (const auto& [name, gradient] : gradients) {
    if (!seen.contains(name)) {
      throw core::InputError(reference.origin() + ": has no gradient of " + name);
    }
  }
  return comparison.worst();
}

Result compare(const io::SafetensorsReader& reference, const Run& run, const Values& gradients,
               const Tokens& tokens, const config::Model& model) {
  const std::int64_t batch = tokens.sequences, length = tokens.seq_len;
  if (reference.read<double>("loss").size() != 1) {
    throw core::InputError(reference.origin() + ": loss is " +
                           io::describe(reference.info("loss")) + ", expected one number");
  }
  const double loss = read_floats(reference, "loss", reference.info("loss").shape).front();
  Comparison outputs(0);
  outputs.add("logits", run.logits,
              read_floats(reference, "logits", {batch, length, model.vocab_size}));
  outputs.add("token_loss", run.token_loss,
              read_floats(reference, "token_loss", {batch, length - 1}));
  return {.loss = std::abs(run.loss - loss),
          .outputs = outputs.worst(),
          .gradients = compare_gradients(reference, gradients, model)};
}

}  // namespace

std::filesystem::path reference_of(const std::filesystem::path& folder, const Backend& backend) {
  const std::filesystem::path decided = folder / "reference_decided.safetensors";
  const bool use = backend.compute == config::Compute::bf16 && std::filesystem::exists(decided);
  return use ? decided : folder / "reference.safetensors";
}

Result run_model_case(const std::filesystem::path& folder, const Backend& backend) {
  const config::Model model = io::model_from_hf(folder);
  check_shapes(folder, model);
  const io::SafetensorsReader reference(reference_of(folder, backend));
  const Tokens tokens = read_tokens(reference, model.vocab_size);

  parallel::Groups groups;
  train::Engine engine(config_for(model, tokens, backend.compute), parallel::Mesh{}, groups);
  const train::StepPlan plan = train::plan_step(engine);
  train::require_memory(plan, {"this machine", core::available_bytes()}, engine.config(),
                        parallel::Mesh{}, groups);
  parallel::Ctx& ctx = engine.ctx();
  ctx.tokens = &engine.shard().blank();
  run_batch(engine, tokens);
  engine.allocate(backend.device);
  io::load_hf_weights(folder, engine.table(), model, ctx.stream);
  ctx.tokens = &engine.shard().load(tokens.ids, tokens.labels, tokens.doc_pos, ctx.stream);
  const Run run = run_batch(engine, tokens);
  return compare(reference, run, gradients_of(engine.table(), model, ctx.stream), tokens, model);
}

}  // namespace strait::golden
