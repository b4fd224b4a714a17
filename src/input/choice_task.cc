#include "input/choice_task.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "input/utf8.h"

namespace strait::input {
namespace {

using nlohmann::json;

/// An item from one line; throws json::exception or std::invalid_argument saying what it lacks.
using ItemReader = ChoiceItem (*)(const json& line);

/// A choice with the usual blank before it.
Choice after_blank(std::string context, const std::string& text) {
  return {std::move(context), " " + text, code_points(text)};
}

/// A label that is a number, as such or in quotes.
std::int64_t number(const json& label) {
  return label.is_string() ? std::stoll(label.get<std::string>()) : label.get<std::int64_t>();
}

/// HellaSwag's texts without the marks of WikiHow.
std::string clean_wikihow(const std::string& text) {
  std::string out = replace_all(strip(text), " [title]", ". ");
  for (std::size_t begin = 0; (begin = out.find('[', begin)) != std::string::npos;) {
    const std::size_t end = out.find(']', begin);
    if (end == std::string::npos) break;
    if (out.find('\n', begin) < end) {
      ++begin;
      continue;
    }
    out.erase(begin, end + 1 - begin);
  }
  return replace_all(out, "  ", " ");
}

ChoiceItem hellaswag(const json& line) {
  const std::string context =
      line.at("ctx_a").get<std::string>() + " " + capitalize(line.at("ctx_b").get<std::string>());
  const std::string query =
      clean_wikihow(line.at("activity_label").get<std::string>() + ": " + context);
  ChoiceItem item{.choices = {}, .answer = number(line.at("label")), .place = {}};
  for (const json& ending : line.at("endings")) {
    item.choices.push_back(after_blank(query, clean_wikihow(ending.get<std::string>())));
  }
  return item;
}

ChoiceItem arc(const json& line) {
  // As the authors publish it, and as it is on the Hugging Face hub.
  const bool nested = line.at("question").is_object();
  const std::string question = (nested ? line.at("question").at("stem") : line.at("question"));
  std::vector<std::string> labels, texts;
  if (nested) {
    for (const json& choice : line.at("question").at("choices")) {
      labels.push_back(choice.at("label"));
      texts.push_back(choice.at("text"));
    }
  } else {
    labels = line.at("choices").at("label").get<std::vector<std::string>>();
    texts = line.at("choices").at("text").get<std::vector<std::string>>();
  }
  const auto found = std::ranges::find(labels, line.at("answerKey").get<std::string>());
  ChoiceItem item{.choices = {}, .answer = found - labels.begin(), .place = {}};
  for (const std::string& text : texts) {
    item.choices.push_back(after_blank("Question: " + question + "\nAnswer:", text));
  }
  return item;
}

ChoiceItem piqa(const json& line) {
  const std::string context = "Question: " + line.at("goal").get<std::string>() + "\nAnswer:";
  return {.choices = {after_blank(context, line.at("sol1")), after_blank(context, line.at("sol2"))},
          .answer = number(line.at("label")),
          .place = {}};
}

/// The two contexts end in an option, and what follows the gap is scored.
ChoiceItem winogrande(const json& line) {
  const std::string sentence = line.at("sentence");
  const std::size_t gap = sentence.find('_');
  if (gap == std::string::npos) throw std::invalid_argument("\"sentence\" has no gap \"_\"");
  const std::string rest = strip(sentence.substr(gap + 1));
  ChoiceItem item{.choices = {}, .answer = number(line.at("answer")) - 1, .place = {}};
  for (const char* option : {"option1", "option2"}) {
    item.choices.push_back(
        after_blank(sentence.substr(0, gap) + line.at(option).get<std::string>(), rest));
  }
  return item;
}

constexpr std::array<std::pair<std::string_view, ItemReader>, 5> kTasks{
    {{"hellaswag", hellaswag},
     {"arc_easy", arc},
     {"arc_challenge", arc},
     {"piqa", piqa},
     {"winogrande", winogrande}}};

/// Labels beside a PIQA file, one a line; none when there is no such file.
std::vector<std::int64_t> labels_beside(const std::filesystem::path& path) {
  std::filesystem::path file = path.parent_path() / path.stem();
  file += "-labels.lst";
  std::vector<std::int64_t> labels;
  std::ifstream in(file);
  for (std::int64_t label = 0; in >> label;) labels.push_back(label);
  return labels;
}

[[noreturn]] void refuse(const std::string& place, std::string_view task, const std::string& why) {
  throw core::InputError(place + ": is no item of " + std::string(task) + ": " + why);
}

}  // namespace

bool is_choice_task(std::string_view task) {
  return std::ranges::any_of(kTasks, [&](const auto& known) { return known.first == task; });
}

std::vector<ChoiceItem> read_choice_items(std::string_view task,
                                          const std::filesystem::path& path) {
  const ItemReader read =
      std::ranges::find(kTasks, task, &std::pair<std::string_view, ItemReader>::first)->second;
  const std::vector<std::int64_t> labels =
      task == "piqa" ? labels_beside(path) : std::vector<std::int64_t>{};
  std::istringstream text(core::read_file(path));
  std::vector<ChoiceItem> items;
  std::size_t number = 0;
  for (std::string line; std::getline(text, line);) {
    const std::string place = path.string() + ":" + std::to_string(++number);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      json root = json::parse(line);
      if (items.size() < labels.size()) root["label"] = labels[items.size()];
      items.push_back(read(root));
    } catch (const std::exception& error) {  // of JSON, or of a number in quotes
      refuse(place, task, error.what());
    }
    ChoiceItem& item = items.back();
    item.place = place;
    if (item.answer < 0 || item.answer >= std::ssize(item.choices)) {
      refuse(place, task,
             "its answer is none of its " + std::to_string(item.choices.size()) + " choices");
    }
  }
  if (items.empty()) throw core::InputError(path.string() + ": holds no item");
  return items;
}

EncodedChoice encode_choice(const Choice& choice, const Tokenizer& tokenizer, std::int64_t most) {
  std::string context = choice.context, continuation = choice.continuation;
  const std::size_t end = context.size() - trailing_blanks(context);
  continuation.insert(0, context.substr(end));
  context.resize(end);
  std::vector<std::int32_t> before = tokenizer.encode(context);
  EncodedChoice out{.tokens = tokenizer.encode(context + continuation)};
  out.scored = std::ssize(out.tokens) - std::ssize(before);
  if (before.empty()) out.tokens.insert(out.tokens.begin(), tokenizer.eod());
  if (out.scored < 1 || out.scored > most) {
    throw core::InputError("a choice of " + std::to_string(out.scored) + " tokens: expected 1.." +
                           std::to_string(most) + "; raise data.seq_len");
  }
  const auto excess = std::max<std::int64_t>(std::ssize(out.tokens) - (most + 1), 0);
  out.tokens.erase(out.tokens.begin(), out.tokens.begin() + excess);
  return out;
}

}  // namespace strait::input
