#include "input/text_source.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/files.h"

namespace strait::input {

void for_each_document(std::string_view text, const std::function<void(std::string_view)>& visit) {
  std::string document;
  auto flush = [&] {
    if (!document.empty()) document.pop_back();  // the break of its last line
    if (document.find_first_not_of('\n') != std::string::npos) visit(document);
    document.clear();
  };
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line == kDocumentSeparator) {
      flush();
    } else {
      document.append(line).push_back('\n');
    }
  }
  flush();
}

std::unique_ptr<TokenSource> read_text_source(const std::filesystem::path& path,
                                              const Tokenizer& tokenizer) {
  std::vector<std::int32_t> tokens;
  for_each_document(core::read_file(path), [&](std::string_view document) {
    const std::vector<std::int32_t> encoded = tokenizer.encode(document);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    tokens.push_back(tokenizer.eod());
  });
  if (tokens.empty()) {
    throw core::InputError(path.string() +
                           ": holds no text; expected documents separated by lines " +
                           std::string(kDocumentSeparator));
  }
  return std::make_unique<MemorySource>(std::move(tokens), tokenizer.eod());
}

}  // namespace strait::input
