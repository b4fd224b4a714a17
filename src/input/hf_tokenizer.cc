#include <cstring>
#include <mutex>

#include "config/load.h"
#include "input/coprocess.h"
#include "input/hf_vocabulary.h"
#include "input/piece_tokenizer.h"
#include "input/tokenizer_files.h"

namespace strait::input {
namespace {

class HfTokenizer final : public PieceTokenizer {
 public:
  HfTokenizer(std::filesystem::path path, HfVocabulary vocabulary)
      : PieceTokenizer(content_name("hf", vocabulary.contents), std::move(vocabulary.pieces),
                       vocabulary.eod),
        path_(std::move(path)) {}

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::unique_ptr<Coprocess> encoder = take_encoder();
    const std::string packed = encoder->ask(text);
    {
      const std::lock_guard lock(idle_mutex_);
      idle_.push_back(std::move(encoder));
    }
    std::vector<std::int32_t> ids(packed.size() / sizeof(std::int32_t));
    if (!ids.empty()) std::memcpy(ids.data(), packed.data(), ids.size() * sizeof(std::int32_t));
    return ids;
  }

 private:
  std::unique_ptr<Coprocess> take_encoder() const {
    {
      const std::lock_guard lock(idle_mutex_);
      if (!idle_.empty()) {
        auto encoder = std::move(idle_.back());
        idle_.pop_back();
        return encoder;
      }
    }
    return std::make_unique<Coprocess>(std::vector<std::string>{
        config::locate("scripts/hf_tokenizer.sh").string(), path_.string()});
  }

  std::filesystem::path path_;
  mutable std::mutex idle_mutex_;
  mutable std::vector<std::unique_ptr<Coprocess>> idle_;  // encoders that nobody uses
};

}  // namespace

std::unique_ptr<Tokenizer> open_hf_tokenizer(const std::filesystem::path& path) {
  return std::make_unique<HfTokenizer>(path, read_hf_vocabulary(path));
}

}  // namespace strait::input
