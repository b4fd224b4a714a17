#include "input/text/train_sentencepiece.h"

#include "core/error.h"
#include "core/files.h"
#include "input/text/document_reader.h"

#ifdef STRAIT_SENTENCEPIECE
#include <sentencepiece_trainer.h>
#endif

namespace strait::input {

#ifdef STRAIT_SENTENCEPIECE
namespace {

/// The lines of documents, as sentences.
class Lines final : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const SentencePieceOptions& options) : options_(options), reader_(options.inputs) {
    Next();
  }
  bool done() const override { return done_; }
  void Next() override {
    do {
      if (begin_ >= text_.size() && !next_document()) return;
      const std::size_t end = std::min(text_.find('\n', begin_), text_.size());
      line_ = text_.substr(begin_, end - begin_);
      begin_ = end + 1;
    } while (line_.empty());
  }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  bool next_document() {
    RawDocument raw;
    done_ = bytes_ >= options_.bytes || !reader_.next(raw);
    if (done_) return false;
    text_ = text_of(raw, options_.text_key);
    bytes_ += std::ssize(text_);
    begin_ = 0;
    return true;
  }

  const SentencePieceOptions& options_;
  DocumentReader reader_;
  std::string text_, line_;
  std::size_t begin_ = 0;  // of the next line
  std::int64_t bytes_ = 0;
  bool done_ = false;
};

}  // namespace

void train_sentencepiece(const SentencePieceOptions& options) {
  core::make_folder_of(options.output);
  Lines lines(options);
  const std::string arguments =
      "--model_type=bpe --byte_fallback=true --normalization_rule_name=identity"
      " --remove_extra_whitespaces=false --add_dummy_prefix=false --split_digits=true"
      " --allow_whitespace_only_pieces=true --character_coverage=0.9999"
      " --max_sentence_length=1048576 --minloglevel=1 --vocab_size=" +
      std::to_string(options.vocab_size) + " --num_threads=" + std::to_string(options.threads);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &lines, &model);
  if (!status.ok()) {
    throw core::InputError("SentencePiece: " + std::string(status.message()) +
                           "; choose a vocabulary that suits the text");
  }
  core::write_file_atomically(options.output, [&](std::ostream& out) { out << model; });
}

#else

void train_sentencepiece(const SentencePieceOptions& options) {
  throw core::InputError(options.output.string() +
                         ": this is a build without SentencePiece; install libsentencepiece-dev "
                         "and build again");
}

#endif

}  // namespace strait::input
