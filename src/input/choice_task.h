#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "input/tokenizer.h"

// Multiple-choice tasks in their published JSONL forms, asked as lm-evaluation-harness (0.4) asks
// them without examples: same contexts, continuations, normalisation and split into tokens.
namespace strait::input {

/// One choice of an item.
struct Choice {
  std::string context;
  std::string continuation;
  std::int64_t characters = 1;  // that its log-likelihood is divided by: those of the choice's text
};

struct ChoiceItem {
  std::vector<Choice> choices;
  std::int64_t answer = 0;  // index of the right one
  std::string place;        // "file:line", for messages
};

/// The tasks that are known: "hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande".
bool is_choice_task(std::string_view task);

/// Reads a task's items. PIQA's labels may stand in the lines or in <stem>-labels.lst beside the
/// file. Throws InputError naming the line and what it lacks.
std::vector<ChoiceItem> read_choice_items(std::string_view task, const std::filesystem::path& path);

/// A choice as ids: context, then continuation, of which only the latter is scored.
struct EncodedChoice {
  std::vector<std::int32_t> tokens;
  std::int64_t scored = 0;  // last tokens
};

/// Encodes both together and takes for the continuation what is longer than the context alone;
/// blanks at the context's end go with the continuation. Tokens before the last `most` + 1 are left
/// out, for that is what a sequence of `most` inputs can take. An empty context is EOD. Throws
/// InputError when the continuation alone is longer.
EncodedChoice encode_choice(const Choice& choice, const Tokenizer& tokenizer, std::int64_t most);

}  // namespace strait::input
