#include "core/error.h"
#include "core/files.h"
#include "input/tokenizer_files.h"

#ifdef STRAIT_SENTENCEPIECE
#include <sentencepiece_processor.h>

#include "input/piece_tokenizer.h"
#endif

namespace strait::input {

#ifdef STRAIT_SENTENCEPIECE
namespace {

using sentencepiece::SentencePieceProcessor;

class SentencePieceTokenizer final : public PieceTokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceProcessor> model, std::string name,
                         std::vector<std::string> pieces)
      : PieceTokenizer(std::move(name), std::move(pieces), model->eos_id()),
        model_(std::move(model)) {}

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = model_->Encode({text.data(), text.size()}, &ids);
    if (status.ok()) return ids;
    throw core::InputError("tokenizer " + std::string(name()) + ": " +
                           std::string(status.message()));
  }

 private:
  std::unique_ptr<SentencePieceProcessor> model_;
};

}  // namespace

std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path) {
  const std::string contents = core::read_file(path);
  auto model = std::make_unique<SentencePieceProcessor>();
  const auto status = model->LoadFromSerializedProto(contents);
  if (!status.ok()) {
    throw core::InputError(path.string() +
                           ": is not a SentencePiece model: " + std::string(status.message()));
  }
  if (model->eos_id() < 0) {
    throw core::InputError(path.string() +
                           ": has no </s>, which ends documents; train the model with it");
  }
  std::vector<std::string> pieces;
  for (int id = 0; id < model->GetPieceSize(); ++id) {
    const bool text = !model->IsControl(id) && !model->IsUnknown(id);
    pieces.push_back(text ? marked_text(model->IdToPiece(id)) : "");
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(model), content_name("spm", contents),
                                                  std::move(pieces));
}

#else

std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& path) {
  throw core::InputError(path.string() +
                         ": this is a build without SentencePiece; install libsentencepiece-dev "
                         "and build again");
}

#endif

}  // namespace strait::input
