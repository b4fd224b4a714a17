#include "tests/config/helpers.h"

namespace strait::config {
namespace {

struct Malformed {
  const char* name;
  std::string json;                    // empty: the valid config
  std::vector<std::string> overrides;  // each breaks or prepares the config
  std::vector<std::string> parts;      // that the message must contain
};

void PrintTo(const Malformed& malformed, std::ostream* out) {
  *out << malformed.name;
}

const std::string kMla = R"(model.attention={"kind":"mla","n_kv_heads":0,"mla":{"q_rank":16,)"
                         R"("kv_rank":16,"nope_dim":8,"rope_dim":4,"value_dim":8}})";
const std::string kCca = R"(model.attention={"kind":"cca","n_kv_heads":4})";
const std::string kCcgqa = R"(model.attention={"kind":"ccgqa"})";
const std::string kMuon = "optim.kind=muon";
const std::string kMoe =
    R"(model.ffn={"kind":"moe","moe":{"n_experts":8,"top_k":2,"d_expert":32}})";

std::vector<Malformed> wrong_text() {
  return {
      {"not_json", "{steps: 1}", {}, {"origin: not valid JSON", "line 1, column 2"}},
      {"truncated", R"({"train": {"steps": 1)", {}, {"not valid JSON", "line 1"}},
      {"comment", "{} // why", {}, {"not valid JSON", "comments"}},
      {"trailing_comma", R"({"train": {"steps": 1,}})", {}, {"not valid JSON", "trailing commas"}},
      {"single_quotes", "{'train': 1}", {}, {"not valid JSON"}},
      {"two_documents", "{} {}", {}, {"not valid JSON"}},
      {"array", "[1, 2]", {}, {"origin", "expected an object", "got array"}},
      {"number", "7", {}, {"the whole = 7", "expected an object"}},
      {"null", "null", {}, {"expected an object", "got null"}},
      {"repeated_key",
       R"({"train": {"steps": 1, "steps": 2}})",
       {},
       {"train.steps: given twice", "keep one"}},
      {"repeated_section",
       R"({"train": {}, "model": {}, "train": {}})",
       {},
       {"train: given twice"}},
      {"repeated_deep",
       R"({"model": {"attention": {"rope": {"theta": 1, "theta": 1}}}})",
       {},
       {"model.attention.rope.theta: given twice"}},
  };
}

std::vector<Malformed> wrong_names() {
  return {
      {"misspelt_section",
       R"({"modle": {}})",
       {},
       {"origin: modle: unknown key", "nearest is model ("}},
      {"misspelt_inner_section",
       R"({"model": {"atention": {}}})",
       {},
       {"model.atention: unknown key", "nearest is model.attention ("}},
      {"misspelt_key",
       R"({"train": {"step": 4}})",
       {},
       {"train.step: unknown key", "nearest is train.steps ("}},
      {"swapped_letters",
       R"({"model": {"d_mdoel": 4}})",
       {},
       {"model.d_mdoel", "nearest is model.d_model ("}},
      {"misplaced_key", R"({"lr": 0.1})", {}, {"lr: unknown key", "nearest is optim.lr ("}},
      {"other_section",
       R"({"model": {"n_heads": 4}})",
       {},
       {"model.n_heads", "nearest is model.attention.n_heads ("}},
      {"wrong_case", R"({"train": {"Steps": 4}})", {}, {"train.Steps", "nearest is train.steps ("}},
      {"dotted_key",
       R"({"train.steps": 4})",
       {},
       {"train.steps: unknown key", "object of its own", "nearest is train.steps"}},
      {"empty_key", R"({"train": {"": 4}})", {}, {"train.: unknown key", "nearest is train"}},
      {"key_below_key", R"({"train": {"steps": {"n": 4}}})", {}, {"train.steps", "got object"}},
      {"override_unknown",
       "",
       {"train.stepz=4"},
       {"--set train.stepz=4", "nearest is train.steps"}},
      {"override_without_value", "", {"train.steps"}, {"--set train.steps", "section.key=value"}},
      {"override_without_key", "", {"=4"}, {"--set =4", "section.key=value"}},
      {"override_extends",
       "",
       {"extends=quickstart"},
       {"--set extends=quickstart", "only a file extends"}},
  };
}

std::vector<Malformed> wrong_types() {
  return {
      {"text_for_integer",
       R"({"train": {"steps": "ten"}})",
       {},
       {"train.steps = \"ten\"", "expected integer >= 1", "got string"}},
      {"fraction_for_integer",
       "",
       {"train.steps=1.5"},
       {"train.steps = 1.5", "expected integer", "another number"}},
      {"bool_for_integer", "", {"model.n_layers=true"}, {"model.n_layers = true", "got boolean"}},
      {"null_for_integer", "", {"model.n_layers=null"}, {"model.n_layers = null", "got null"}},
      {"array_for_integer", "", {"model.n_layers=[2]"}, {"model.n_layers = [2]", "got array"}},
      {"beyond_int64", "", {"run.seed=18446744073709551615"}, {"run.seed", "expected integer"}},
      {"far_beyond_int64", "", {"train.steps=1e30"}, {"train.steps = 1e+30", "expected integer"}},
      {"text_for_number", "", {"optim.lr=fast"}, {"optim.lr = \"fast\"", "expected number > 0"}},
      {"nan_for_number", "", {"optim.lr=NaN"}, {"optim.lr = \"NaN\"", "got string"}},
      {"overflow_for_number", R"({"optim": {"lr": 1e999}})", {}, {"not valid JSON", "overflow"}},
      {"integer_for_bool",
       "",
       {"model.tie_embeddings=1"},
       {"= 1", "expected true or false", "got number"}},
      {"word_for_bool", "", {"model.tie_embeddings=yes"}, {"= \"yes\"", "true or false"}},
      {"number_for_text", R"({"run": {"name": 7}})", {}, {"run.name = 7", "expected text"}},
      {"number_for_section", R"({"train": 7})", {}, {"train = 7", "expected an object"}},
      {"nul_in_text", R"({"run": {"name": "a\u0000b"}})", {}, {"run.name", "NUL", "remove it"}},
  };
}

std::vector<Malformed> wrong_words() {
  return {
      {"kind",
       "",
       {"model.attention.kind=ccgaq"},
       {"model.attention.kind = \"ccgaq\"", "one of mha, gqa, mla, cca, ccgqa",
        "nearest is ccgqa"}},
      {"upper_case", "", {"model.attention.kind=MLA"}, {"= \"MLA\"", "one of mha"}},
      {"ffn_kind", "", {"model.ffn.kind=mixture"}, {"one of dense, moe", "nearest is moe"}},
      {"score", "", {"model.ffn.moe.score=sigmod"}, {"nearest is sigmoid"}},
      {"temperature",
       "",
       {"model.attention.cca.key_temperature=lin"},
       {"one of exp, linear", "nearest is"}},
      {"schedule", "", {"optim.schedule=cosin"}, {"nearest is cosine"}},
      {"optimizer", "", {"optim.kind=moun"}, {"one of adamw, muon", "nearest is muon"}},
      {"muon_coefficients",
       "",
       {kMuon, "optim.muon.coefficients=polar"},
       {"one of original, five_step, polar_express", "nearest is"}},
      {"muon_scale",
       "",
       {kMuon, "optim.muon.scale=adam_rms"},
       {"one of adamw_rms, aspect, unit_rms", "nearest is adamw_rms"}},
      {"recompute", "", {"train.recompute=full"}, {"one of none, ffn, block"}},
      {"compute", "", {"precision.compute=fp32"}, {"one of f64, f32, bf16", "nearest is f32"}},
      {"device", "", {"run.device=gpu"}, {"one of auto, cpu, cuda"}},
      {"positions", "", {"model.attention.rope.positions=documents"}, {"nearest is document"}},
  };
}

std::vector<Malformed> wrong_ranges() {
  return {
      {"negative_steps", "", {"train.steps=-1"}, {"train.steps = -1", "out of range", ">= 1"}},
      {"negative_seed", "", {"run.seed=-3"}, {"run.seed = -3", "integer >= 0"}},
      {"zero_lr", "", {"optim.lr=0"}, {"optim.lr = 0", "number > 0 and <= 10"}},
      {"beta_one", "", {"optim.beta2=1"}, {"optim.beta2 = 1", ">= 0 and < 1"}},
      {"muon_momentum_one",
       "",
       {kMuon, "optim.muon.momentum=1"},
       {"muon.momentum = 1", ">= 0 and < 1"}},
      {"huge_width", "", {"model.d_model=1e15"}, {"model.d_model", "<= 16777216"}},
      {"three_convs", "", {"model.attention.cca.convs=3"}, {"cca.convs = 3", "<= 2"}},
      {"no_taps", "", {"model.attention.cca.taps_grouped=0"}, {"taps_grouped = 0", ">= 1"}},
      {"fraction", "", {"model.attention.rope.fraction=1.5"}, {"fraction = 1.5", "<= 1"}},
      {"negative_window", "", {"model.attention.window=-1"}, {"window = -1", "integer >= 0"}},
      {"no_sequence", "", {"data.seq_len=0"}, {"data.seq_len = 0", "integer >= 1"}},
      {"keep_none", "", {"checkpoint.keep=0"}, {"checkpoint.keep = 0", "integer >= 1"}},
      {"min_lr", "", {"optim.min_lr_ratio=2"}, {"min_lr_ratio = 2", "<= 1"}},
      {"cold", "", {"eval.sample_temperature=-1"}, {"sample_temperature = -1", ">= 0"}},
  };
}

std::vector<Malformed> missing_keys() {
  return {
      {"nothing_given", "{}", {}, {"origin: model.d_model: missing", "integer >= 1", "--set"}},
      {"no_width", "", {"model.d_model=0"}, {"model.d_model: missing"}},
      {"no_layers", "", {"model.n_layers=0"}, {"model.n_layers: missing"}},
      {"no_heads", "", {"model.attention.n_heads=0"}, {"model.attention.n_heads: missing"}},
      {"no_train", "", {"data.train="}, {"data.train: missing", "data/sample.txt"}},
      {"no_steps", "", {"train.steps=0"}, {"train.steps: missing"}},
      {"no_batch", "", {"train.batch_size=0"}, {"train.batch_size: missing"}},
      {"no_d_ff", "", {"model.ffn.d_ff=0"}, {"model.ffn.d_ff = 0", "at least 1"}},
      {"no_kv_heads",
       "",
       {"model.attention.n_kv_heads=0"},
       {"n_kv_heads = 0", "must be given with model.attention.kind = gqa", "n_heads = 4"}},
      {"no_experts",
       "",
       {"model.ffn.kind=moe"},
       {"n_experts = 0", "at least 1 with model.ffn.kind = moe"}},
      {"no_expert_width", "", {kMoe, "model.ffn.moe.d_expert=0"}, {"d_expert = 0", "at least 1"}},
      {"model_half_given",
       "",
       {"init.from=somewhere", "model.d_model=0"},
       {"model.d_model: missing"}},
  };
}

std::vector<Malformed> wrong_shapes() {
  return {
      {"heads_not_divisible",
       "",
       {"model.attention.n_heads=7"},
       {"--set model.attention.n_heads=7: model.attention.n_heads = 7",
        "divisible by model.attention.n_kv_heads = 2", "try 6 or 8"}},
      {"more_kv_heads", "", {"model.attention.n_kv_heads=8"}, {"n_kv_heads = 8", "n_heads = 4"}},
      {"mha_with_groups",
       "",
       {"model.attention.kind=mha"},
       {"n_kv_heads = 2", "n_heads = 4", "kind = mha", "choose kind gqa"}},
      {"cca_with_groups",
       "",
       {"model.attention.kind=cca"},
       {"n_kv_heads = 2", "kind = cca", "choose kind ccgqa"}},
      {"mla_with_groups",
       "",
       {kMla, "model.attention.n_kv_heads=2"},
       {"n_kv_heads = 2", "kind = mla"}},
      {"ccgqa_without_groups",
       "",
       {kCcgqa, "model.attention.n_kv_heads=4"},
       {"n_kv_heads = 4", "less than model.attention.n_heads = 4", "choose kind cca"}},
      {"heads_do_not_divide_width",
       "",
       {"model.d_model=66"},
       {"n_heads = 4", "must divide model.d_model = 66", "head_dim", "64 or 68"}},
      {"odd_rotation",
       "",
       {"model.attention.head_dim=15"},
       {"rope.fraction = 1", "15 channels", "even number", "try 0.93"}},
      {"half_channel", "", {"model.attention.rope.fraction=0.3"}, {"fraction = 0.3", "try 0.25"}},
      {"window_without_causal",
       "",
       {"model.attention.window=8", "model.attention.causal=false"},
       {"window = 8", "causal = true"}},
      {"qk_norm_of_mla", "", {kMla, "model.attention.qk_norm=true"}, {"qk_norm", "kind = mla"}},
      {"qk_norm_of_cca", "", {kCca, "model.attention.qk_norm=true"}, {"qk_norm", "kind = cca"}},
      {"odd_value_shift",
       "",
       {kCcgqa, "model.attention.n_kv_heads=1", "model.attention.head_dim=5"},
       {"value_shift = true", "= 5", "must be even"}},
      {"no_kv_rank", "", {kMla, "model.attention.mla.kv_rank=0"}, {"kv_rank = 0", "at least 1"}},
      {"no_nope_dim", "", {kMla, "model.attention.mla.nope_dim=0"}, {"nope_dim = 0"}},
      {"no_rope_dim", "", {kMla, "model.attention.mla.rope_dim=0"}, {"rope_dim = 0"}},
      {"no_value_dim", "", {kMla, "model.attention.mla.value_dim=0"}, {"value_dim = 0"}},
      {"odd_rope_dim",
       "",
       {kMla, "model.attention.mla.rope_dim=5"},
       {"rope_dim = 5", "must be even", "4 or 6"}},
      {"mla_head_dim",
       "",
       {kMla, "model.attention.head_dim=16"},
       {"head_dim = 16", "must be 12", "nope_dim = 8", "leave it out"}},
      {"mla_fraction",
       "",
       {kMla, "model.attention.rope.fraction=0.5"},
       {"fraction = 0.5", "rope_dim"}},
      {"cca_key_of_gqa",
       "",
       {"model.attention.cca.qk_mean=false"},
       {"cca.qk_mean = false", "no effect with model.attention.kind = gqa"}},
      {"temperature_without_norm",
       "",
       {kCca, "model.attention.cca.norm=false", "model.attention.cca.key_temperature=linear"},
       {"key_temperature = \"linear\"", "no effect with model.attention.cca.norm = false"}},
      {"cca_key_of_mla",
       "",
       {kMla, "model.attention.cca.convs=1"},
       {"cca.convs = 1", "kind = mla"}},
      {"mla_key_of_cca",
       "",
       {kCca, "model.attention.mla.q_rank=8"},
       {"mla.q_rank = 8", "kind = cca"}},
  };
}

std::vector<Malformed> wrong_experts() {
  return {
      {"experts_of_dense",
       "",
       {"model.ffn.moe.n_experts=8"},
       {"n_experts = 8", "no effect with model.ffn.kind = dense"}},
      {"top_k", "", {kMoe, "model.ffn.moe.top_k=9"}, {"top_k = 9", "n_experts = 8"}},
      {"groups_divide",
       "",
       {kMoe, "model.ffn.moe.groups=3"},
       {"n_experts = 8", "divisible by model.ffn.moe.groups = 3", "6 or 9"}},
      {"groups_of_one", "", {kMoe, "model.ffn.moe.groups=8"}, {"groups = 8", "at least 2"}},
      {"top_groups",
       "",
       {kMoe, "model.ffn.moe.groups=2", "model.ffn.moe.top_groups=3"},
       {"top_groups = 3", "at most model.ffn.moe.groups = 2"}},
      {"top_k_of_groups",
       "",
       {kMoe, "model.ffn.moe.groups=4", "model.ffn.moe.top_k=3"},
       {"top_k = 3", "at most 2", "top_groups = 1"}},
      {"rate_without_bias",
       "",
       {kMoe, "model.ffn.moe.bias_rate=0.001"},
       {"bias_rate = 0.001", "selection_bias to true"}},
      {"rule_without_rate",
       "",
       {kMoe, "model.ffn.moe.bias_rule=adamw"},
       {"bias_rule = \"adamw\"", "bias_rate above 0"}},
      {"constant_weight",
       "",
       {kMoe, "model.ffn.moe.top_k=1", "model.ffn.moe.renormalise=true"},
       {"renormalise = true", "top_k = 1", "would not learn"}},
      {"only_dense_layers",
       "",
       {kMoe, "model.ffn.moe.first_dense=2"},
       {"first_dense = 2", "less than model.n_layers = 2"}},
      {"every_too_far", "", {kMoe, "model.ffn.moe.every=3"}, {"every = 3", "at most 2"}},
      {"dense_layer_without_width",
       "",
       {kMoe, "model.ffn.moe.first_dense=1", "model.ffn.d_ff=0"},
       {"d_ff = 0", "first_dense = 1"}},
  };
}

const std::string kZaya =
    R"(model.ffn={"kind":"moe","moe":{"n_experts":8,"top_k":1,"d_expert":32,"skip":true,)"
    R"("selection_bias":true,"router":{"kind":"mlp","width":16,"depth_average":true}}})";

std::vector<Malformed> wrong_zaya() {
  return {
      {"pattern_letters",
       "",
       {"model.attention.sliding={\"pattern\":\"fx\",\"window\":4}"},
       {"sliding.pattern = \"fx\"", "f (full) and s (sliding)"}},
      {"pattern_length",
       "",
       {"model.attention.sliding={\"pattern\":\"ffs\",\"window\":4}"},
       {"sliding.pattern = \"ffs\"", "longer than the model.n_layers = 2"}},
      {"pattern_without_sliding",
       "",
       {"model.attention.sliding={\"pattern\":\"ff\",\"window\":4}"},
       {"sliding.pattern = \"ff\"", "no sliding layer"}},
      {"sliding_without_window",
       "",
       {"model.attention.sliding.pattern=fs"},
       {"sliding.window = 0", "at least 1", "sliding.pattern = \"fs\""}},
      {"window_without_pattern",
       "",
       {"model.attention.sliding.window=4"},
       {"sliding.window = 4", "no effect with model.attention.sliding.pattern"}},
      {"theta_without_pattern",
       "",
       {"model.attention.sliding.theta=5"},
       {"sliding.theta = 5", "no effect with model.attention.sliding.pattern"}},
      {"sliding_that_sees_ahead",
       "",
       {"model.attention.sliding={\"pattern\":\"fs\",\"window\":4}",
        "model.attention.causal=false"},
       {"sliding.pattern = \"fs\"", "causal = true"}},
      {"router_width", "", {kZaya, "model.ffn.moe.router.width=0"}, {"router.width = 0", "mlp"}},
      {"router_with_narrow_gradients",
       "",
       {kZaya, "precision.gradients=bf16"},
       {"precision.gradients = \"bf16\"", "router.kind = mlp", "wide"}},
      {"width_of_linear_router",
       "",
       {kMoe, "model.ffn.moe.router.width=4"},
       {"router.width = 4", "no effect with model.ffn.moe.router.kind = linear"}},
      {"average_of_linear_router",
       "",
       {kMoe, "model.ffn.moe.router.depth_average=true"},
       {"router.depth_average = true", "no effect with model.ffn.moe.router.kind = linear"}},
      {"router_without_experts",
       "",
       {"model.ffn.moe.router.width=4"},
       {"router.width = 4", "no effect with model.ffn.kind = dense"}},
      {"skip_with_two", "", {kZaya, "model.ffn.moe.top_k=2"}, {"top_k = 2", "must be 1", "skip"}},
      {"skip_with_groups", "", {kZaya, "model.ffn.moe.groups=2"}, {"groups = 2", "must be 1"}},
      {"skip_without_bias",
       "",
       {kZaya, "model.ffn.moe.selection_bias=false"},
       {"skip = true", "selection_bias = true"}},
      {"skip_with_balance_loss",
       "",
       {kZaya, "model.ffn.moe.aux_coef=0.01"},
       {"aux_coef = 0.01", "skip = true", "bias_rate"}},
  };
}

std::vector<Malformed> wrong_runs() {
  return {
      {"warmup", "", {"optim.warmup_steps=11"}, {"warmup_steps = 11", "train.steps = 10"}},
      {"decay_without_wsd",
       "",
       {"optim.decay_fraction=0.5"},
       {"decay_fraction = 0.5", "optim.schedule = cosine", "wsd"}},
      {"decay_and_warmup",
       "",
       {"optim.schedule=wsd", "optim.decay_fraction=0.5", "optim.warmup_steps=6"},
       {"decay_fraction = 0.5", "warmup_steps = 6", "overlap"}},
      {"muon_key_of_adamw",
       "",
       {"optim.muon.momentum=0.9"},
       {"muon.momentum = 0.9", "no effect with optim.kind = adamw", "0.95"}},
      {"batch_and_micro_batch",
       "",
       {"train.micro_batch=3"},
       {"batch_size = 8", "micro_batch = 3", "6 or 9"}},
      {"batch_and_ranks", "", {"train.batch_size=9"}, {"batch_size = 9", "dp = 2", "8 or 10"}},
      {"micro_batch_and_ranks",
       "",
       {"train.micro_batch=8"},
       {"micro_batch = 8", "the 4 sequences of a rank"}},
      {"dp", "", {"parallel.dp=4"}, {"parallel.dp = 4", "number of ranks, 2", "mpirun"}},
      {"cp",
       "",
       {kCcgqa, "data.seq_len=64", "parallel.cp=64"},
       {"parallel.cp = 64", "chunks of 1 tokens", "look 2 back"}},
      {"tp",
       "",
       {"parallel.tp=4"},
       {"parallel.tp = 4", "the 2 key/value heads", "the next below is 2"}},
      {"ep", "", {"parallel.ep=2"}, {"parallel.ep = 2", "no effect", "ffn.kind = dense"}},
      {"ep_experts", "", {kMoe, "parallel.ep=3"}, {"parallel.ep = 3", "n_experts = 8", "2"}},
      {"ep_ranks", "", {kMoe, "parallel.ep=4"}, {"parallel.ep = 4", "parallel.dp = 2"}},
      {"sample_on_ranks",
       "",
       {"parallel.tp=2", "eval.sample_tokens=5"},
       {"sample_tokens = 5", "parallel.tp = 2", "generate"}},
      {"cuda",
       "",
       {"run.device=cuda"},
       {"run.device = \"cuda\"", "no GPU", "build with CUDA", "cpu"}},
      {"gradients", "", {"precision.gradients=bf16"}, {"gradients = \"bf16\"", "compute", "wide"}},
      {"states", "", {"precision.states=f16"}, {"states", "one of wide, bf16"}},
      {"bf16", "", {"precision.compute=bf16"}, {"compute = \"bf16\"", "CUDA", "f32"}},
      {"run_name", "", {"run.name=../x"}, {"run.name = \"../x\"", "run.dir"}},
      {"missing_train",
       "",
       {"data.train=no/such.txt"},
       {"data.train = \"no/such.txt\"", "no such"}},
      {"train_is_folder", "", {"data.train=/"}, {"data.train = \"/\"", "is a folder"}},
      {"missing_val", "", {"data.val=no.txt"}, {"data.val = \"no.txt\"", "no such file"}},
      {"val_twice",
       "",
       {"data.val=v.txt", "data.val_documents=2"},
       {"val_documents = 2", "data.val = \"v.txt\""}},
      {"random_documents",
       "",
       {"data.train=random", "data.val_documents=2"},
       {"val_documents = 2", "data.train = \"random\""}},
      {"tokenizer", "", {"data.tokenizer=byte"}, {"data.tokenizer = \"byte\"", "\"bytes\""}},
      {"no_tokenizer", "", {"data.tokenizer="}, {"data.tokenizer = \"\"", "\"bytes\""}},
      {"vocabulary", "", {"model.vocab_size=256"}, {"vocab_size = 256", "257 tokens", "bytes"}},
      {"missing_init", "", {"init.from=no/such"}, {"init.from = \"no/such\"", "no such folder"}},
      {"empty_init", "", {"init.from=/"}, {"init.from = \"/\"", "no config.json"}},
      {"prompt", "", {"eval.sample_prompt=Once"}, {"sample_prompt", "sample_tokens = 0"}},
  };
}

class MalformedConfig : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedConfig, IsRefusedWithPathValueAndAdvice) {
  const Malformed& c = GetParam();
  const std::string json = c.json.empty() ? valid_json() : c.json;
  const std::string message = message_of([&] { load_text(json, "origin", c.overrides, 2); });
  for (const std::string& part : c.parts) {
    EXPECT_TRUE(contains(message, part)) << "no '" << part << "' in: " << message;
  }
  EXPECT_LT(message.size(), 700u) << message;
}

std::string name_of(const testing::TestParamInfo<Malformed>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Text, MalformedConfig, testing::ValuesIn(wrong_text()), name_of);
INSTANTIATE_TEST_SUITE_P(Names, MalformedConfig, testing::ValuesIn(wrong_names()), name_of);
INSTANTIATE_TEST_SUITE_P(Types, MalformedConfig, testing::ValuesIn(wrong_types()), name_of);
INSTANTIATE_TEST_SUITE_P(Words, MalformedConfig, testing::ValuesIn(wrong_words()), name_of);
INSTANTIATE_TEST_SUITE_P(Ranges, MalformedConfig, testing::ValuesIn(wrong_ranges()), name_of);
INSTANTIATE_TEST_SUITE_P(Missing, MalformedConfig, testing::ValuesIn(missing_keys()), name_of);
INSTANTIATE_TEST_SUITE_P(Shapes, MalformedConfig, testing::ValuesIn(wrong_shapes()), name_of);
INSTANTIATE_TEST_SUITE_P(Experts, MalformedConfig, testing::ValuesIn(wrong_experts()), name_of);
INSTANTIATE_TEST_SUITE_P(Zaya, MalformedConfig, testing::ValuesIn(wrong_zaya()), name_of);
INSTANTIATE_TEST_SUITE_P(Runs, MalformedConfig, testing::ValuesIn(wrong_runs()), name_of);

// Each case must fail for its own reason, so what the cases share must be valid.
TEST(MalformedConfig, StartsFromValidConfigs) {
  for (const std::string& set :
       {std::string("run.seed=1"), kMla, kCca, kCcgqa, kMoe, kMuon, kZaya}) {
    EXPECT_NO_THROW(load_text(valid_json(), "origin", {set}, 2)) << set;
  }
}

}  // namespace
}  // namespace strait::config
