#include "ablate/read_sweep.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "ablate/fields.h"
#include "config/nearest.h"
#include "config/reject.h"
#include "config/schema.h"

namespace strait::ablate {
namespace {

using Kind = JsonTree::Kind;

constexpr std::string_view kSize = "size", kSizes = "sizes";
const std::vector<std::string_view> kKeys = {"name",     "title", kSize,       kSizes,  "base",
                                             "variants", "grids", "baseline",  "seeds", "budget",
                                             "match",    "tune",  "reference", "out",   "results"};

bool given(const Fields& fields, std::string_view name) {
  return fields.has(name) && !fields.object().find(name)->is(Kind::null);
}

/// The document with the members of the chosen size over its own.
JsonTree of_size(const JsonTree& document, const std::string& origin, const std::string& asked,
                 std::string& size) {
  const Fields fields(document, "", origin, kKeys);
  size = asked.empty() ? fields.text(kSize) : asked;
  const JsonTree* sizes = document.find(kSizes);
  if (!sizes) {
    if (!asked.empty()) config::reject(origin, "has no sizes; leave --size away");
    return document;
  }
  std::vector<std::string_view> names;
  for (const auto& [name, patch] : sizes->members()) names.push_back(name);
  if (names.empty()) fields.refuse(kSizes, "expected an object of sizes, such as {\"tiny\": {}}");
  const JsonTree* patch = sizes->find(size);
  if (!patch) {
    config::reject(origin, "size", config::show(size),
                   "no such size; nearest is " + std::string(config::nearest_word(size, names)));
  }
  static_cast<void>(Fields(*patch, "sizes." + size, origin, kKeys));
  JsonTree merged = document;
  merged.merge(*patch);
  // What is one thing is not put together of two.
  for (const char* name : {"base", "budget"}) {
    if (const JsonTree* own = patch->find(name)) merged.set(name, *own);
  }
  return merged;
}

std::vector<Assignment> read_set(const Fields& variant) {
  std::vector<Assignment> set;
  const JsonTree* object = variant.object().find("set");
  if (!object) return set;
  if (!object->is(Kind::object)) {
    variant.refuse("set", "expected config keys, such as {\"model.attention.kind\": \"cca\"}");
  }
  for (const auto& [path, value] : object->members()) set.push_back({path, value});
  return set;
}

std::vector<VariantSpec> read_variants(const Fields& sweep) {
  std::vector<VariantSpec> variants;
  const JsonTree& object =
      sweep.required("variants", "an object of variants, such as {\"mha\": {\"set\": {}}}");
  if (!object.is(Kind::object) || object.members().empty()) {
    sweep.refuse("variants", "expected an object with at least one variant");
  }
  for (const auto& [name, value] : object.members()) {
    const std::string path = "variants." + name;
    if (!is_name(name)) {
      config::reject(sweep.origin(),
                     config::printable(path) + ": a name is made of a-z, 0-9, '_', '.' and '-'");
    }
    const Fields variant(value, path, sweep.origin(), {"label", "set", "matched"});
    variants.push_back({.name = name,
                        .label = variant.text("label", name),
                        .set = read_set(variant),
                        .matched = variant.boolean("matched", true)});
  }
  return variants;
}

Grid read_grid(const JsonTree& value, const std::string& path, const std::string& origin) {
  const Fields fields(value, path, origin, {"variants", "keys"});
  Grid grid{.variants = fields.texts("variants"), .axes = {}};
  const JsonTree& keys = fields.required("keys", "config keys with lists of values");
  for (const auto& [key, values] : keys.members()) {
    if (!values.is(Kind::array) || values.items().empty()) {
      fields.refuse("keys", "expected a list of values of each key, " + key + " has none");
    }
    grid.axes.push_back({key, values.items()});
  }
  if (grid.axes.empty()) fields.refuse("keys", "expected at least one config key");
  return grid;
}

std::vector<Grid> read_grids(const Fields& sweep) {
  std::vector<Grid> grids;
  const JsonTree* list = sweep.object().find("grids");
  if (!list) return grids;
  if (!list->is(Kind::array)) sweep.refuse("grids", "expected a list of {\"keys\": {...}}");
  for (const JsonTree& value : list->items()) {
    const std::string path = "grids[" + std::to_string(grids.size()) + "]";
    grids.push_back(read_grid(value, path, sweep.origin()));
  }
  return grids;
}

std::vector<std::int64_t> read_seeds(const Fields& fields, std::int64_t otherwise) {
  const JsonTree* value = fields.object().find("seeds");
  const JsonTree count = value ? *value : JsonTree(otherwise);
  std::vector<std::int64_t> seeds;
  if (const auto n = whole(count, 1); n && *n <= 1000) {
    for (std::int64_t seed = 1; seed <= *n; ++seed) seeds.push_back(seed);
    return seeds;
  }
  for (const JsonTree& item : count.items()) {
    const auto seed = whole(item, 0);
    if (!seed || std::ranges::find(seeds, *seed) != seeds.end()) {
      fields.refuse("seeds", "expected different whole numbers from 0 on");
    }
    seeds.push_back(*seed);
  }
  if (seeds.empty()) fields.refuse("seeds", "expected their number, 1 to 1000, or a list of them");
  return seeds;
}

/// "60m", "1.5b", "3e16-flops", "120s".
std::string budget_name(BudgetKind kind, double value) {
  const char* unit = "";
  if (kind == BudgetKind::tokens && value >= 1e3) {
    const double scale = value >= 1e9 ? 1e9 : value >= 1e6 ? 1e6 : 1e3;
    unit = value >= 1e9 ? "b" : value >= 1e6 ? "m" : "k";
    value /= scale;
  }
  if (kind == BudgetKind::flops) unit = "-flops";
  if (kind == BudgetKind::seconds) unit = "s";
  char text[48];
  std::snprintf(text, sizeof text, "%.4g%s", value, unit);
  std::string name = text;
  std::erase(name, '+');
  return name;
}

Budget read_budget(const JsonTree& value, const std::string& path, const std::string& origin) {
  const Fields fields(value, path, origin, {"name", "tokens", "flops", "seconds"});
  std::vector<Budget> found;
  for (const BudgetKind kind : {BudgetKind::tokens, BudgetKind::flops, BudgetKind::seconds}) {
    if (fields.has(word(kind))) {
      found.push_back({.name = {}, .kind = kind, .value = fields.number(word(kind), 0, 0, true)});
    }
  }
  if (found.size() != 1) {
    config::reject(origin, path, config::printable(to_text(value)),
                   "expected exactly one of tokens, flops, seconds, such as {\"tokens\": 6e7}");
  }
  Budget budget = found.front();
  budget.name = fields.text("name", budget_name(budget.kind, budget.value));
  if (!is_name(budget.name)) fields.refuse("name", "expected a-z, 0-9, '_', '.' and '-'");
  return budget;
}

std::vector<Budget> read_budgets(const Fields& sweep) {
  const JsonTree& value = sweep.required("budget", "one or a list of such as {\"tokens\": 6e7}");
  std::vector<Budget> budgets;
  if (value.is(Kind::object)) {
    budgets.push_back(read_budget(value, "budget", sweep.origin()));
  }
  for (const JsonTree& item : value.items()) {
    const std::string path = "budget[" + std::to_string(budgets.size()) + "]";
    budgets.push_back(read_budget(item, path, sweep.origin()));
    const Budget& first = budgets.front();
    const Budget& last = budgets.back();
    if (last.kind != first.kind) sweep.refuse("budget", "expected budgets of one kind");
    for (std::size_t i = 0; i + 1 < budgets.size(); ++i) {
      if (budgets[i].name == last.name || budgets[i].value >= last.value) {
        sweep.refuse("budget", "expected ascending budgets of different names");
      }
    }
  }
  if (budgets.empty()) sweep.refuse("budget", "expected one budget or a list of them");
  return budgets;
}

std::vector<FreeKey> read_free(const Fields& match) {
  std::vector<FreeKey> free;
  const JsonTree* multiple = match.object().find("multiple");
  for (const std::string& path : match.texts("free")) {
    const JsonTree* own = multiple && multiple->is(Kind::object) ? multiple->find(path) : multiple;
    const auto step = own ? whole(*own, 1) : std::optional<std::int64_t>(1);
    if (!step) {
      match.refuse("multiple", "expected a whole number from 1 on, or one for each key of free");
    }
    free.push_back({.path = path, .multiple = *step});
  }
  if (free.empty()) {
    match.refuse("free", "expected the config keys to solve for, such as [\"model.ffn.d_ff\"]");
  }
  return free;
}

Match read_match(const JsonTree& value, const std::string& origin) {
  const Fields fields(value, "match", origin,
                      {"quantity", "to", "tolerance", "rounding", "free", "multiple"});
  static_cast<void>(fields.required("quantity", "what to hold equal, such as total_parameters"));
  Match match{.quantity = fields.word("quantity", Quantity::total_parameters),
              .tolerance = fields.number("tolerance", 0.01, 0),
              .rounding = fields.word("rounding", Rounding::nearest),
              .free = read_free(fields)};
  const JsonTree& to = fields.required("to", "the name of a variant, or a number");
  if (to.is(Kind::text)) {
    match.variant = to.text();
  } else {
    match.target = fields.number("to", 0, 0, true);
  }
  return match;
}

Tune read_tune(const JsonTree& value, const std::string& origin) {
  const Fields fields(value, "tune", origin, {"key", "values", "tokens", "seeds"});
  Tune tune{.path = fields.text("key", "optim.lr"), .values = {}, .tokens = 0, .seeds = {}};
  static_cast<void>(fields.required("tokens", "the tokens of each short run, such as 1e7"));
  tune.tokens = fields.number("tokens", 0, 0, true);
  for (const JsonTree& item : fields.required("values", "a list of numbers").items()) {
    const bool ascends = tune.values.empty() || item.number() > tune.values.back();
    if (!item.is(Kind::number) || !ascends) {
      fields.refuse("values", "expected ascending numbers");
    }
    tune.values.push_back(item.number());
  }
  if (tune.values.size() < 2) fields.refuse("values", "expected at least two numbers");
  tune.seeds = read_seeds(fields, 1);
  return tune;
}

void check_variant(const Sweep& sweep, const std::string& path, const std::string& name) {
  std::vector<std::string_view> names;
  for (const VariantSpec& variant : sweep.variants) {
    if (variant.name == name) return;
    names.push_back(variant.name);
  }
  config::reject(sweep.origin, path, config::show(name),
                 "no such variant; nearest is " + std::string(config::nearest_word(name, names)));
}

void check_names(const Sweep& sweep) {
  // A grid makes variants of its own names, which expand() looks at.
  for (const Grid& grid : sweep.grids) {
    for (const std::string& name : grid.variants) check_variant(sweep, "grids.variants", name);
  }
  if (!sweep.grids.empty()) return;
  check_variant(sweep, "baseline", sweep.baseline);
  if (sweep.match && !sweep.match->variant.empty()) {
    check_variant(sweep, "match.to", sweep.match->variant);
  }
}

}  // namespace

Sweep read_sweep(const std::string& json, const std::string& origin, const std::string& size) {
  std::string chosen;
  const JsonTree document = of_size(config::read_tree(json, origin), origin, size, chosen);
  const Fields fields(document, "", origin, kKeys);
  const std::string stem = std::filesystem::path(origin).stem().string();
  Sweep sweep{.name = fields.text("name", stem) + (chosen.empty() ? "" : "_" + chosen),
              .title = fields.text("title"),
              .origin = origin,
              .base = fields.required("base", "the name of a config, or one in place"),
              .variants = read_variants(fields),
              .grids = read_grids(fields),
              .baseline = {},
              .seeds = read_seeds(fields, 1),
              .budgets = read_budgets(fields)};
  if (!is_name(sweep.name)) fields.refuse("name", "expected a-z, 0-9, '_', '.' and '-'");
  if (!sweep.base.is(Kind::text) && !sweep.base.is(Kind::object)) {
    fields.refuse("base", "expected the name of a config, or an object of sections");
  }
  sweep.baseline = fields.text("baseline", sweep.variants.front().name);
  if (given(fields, "match")) sweep.match = read_match(*document.find("match"), origin);
  if (given(fields, "tune")) sweep.tune = read_tune(*document.find("tune"), origin);
  if (given(fields, "reference")) sweep.reference = *document.find("reference");
  sweep.out = fields.text("out", "ablations/" + sweep.name);
  sweep.results = fields.text("results");
  if (sweep.title.empty()) sweep.title = sweep.name;
  check_names(sweep);
  return sweep;
}

}  // namespace strait::ablate
