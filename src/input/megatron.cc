#include "input/megatron.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "input/mapped_file.h"
#include "input/packed_tokens.h"

namespace strait::input {
namespace {

const std::string kDamaged = "the file is cut short or damaged: preprocess the text again";

/// Walks the fields of the index.
class IndexReader {
 public:
  explicit IndexReader(const MappedFile& file) : file_(file) {}

  template <class Value>
  std::vector<Value> take(std::uint64_t count, std::string_view field) {
    const std::uint64_t left = file_.size() - at_;
    // Divided, not multiplied: a hostile count must not overflow.
    file_.require(count <= left / sizeof(Value), field,
                  "at most " + std::to_string(left / sizeof(Value)) + " (" + std::to_string(left) +
                      " bytes are left)",
                  std::to_string(count), kDamaged);
    std::vector<Value> out(count);
    const auto bytes = file_.bytes(at_, count * sizeof(Value));
    if (count > 0) std::memcpy(out.data(), bytes.data(), bytes.size());
    at_ += count * sizeof(Value);
    return out;
  }
  template <class Value>
  Value one(std::string_view field) {
    return take<Value>(1, field)[0];
  }

 private:
  const MappedFile& file_;
  std::uint64_t at_ = 0;
};

/// Sequence lengths summed up to where each document ends, in ids.
std::vector<std::int64_t> read_index(const MappedFile& file, PackedLayout& layout) {
  IndexReader reader(file);
  const auto magic = reader.take<char>(kMegatronMagic.size(), "magic");
  file.require(std::string_view(magic.data(), magic.size()) == kMegatronMagic, "magic",
               quoted(kMegatronMagic), quoted({magic.data(), magic.size()}),
               "not a Megatron index: see data.format");
  const auto version = reader.one<std::uint64_t>("version");
  file.require(version != std::uint64_t{1} << 56, "version", "1", std::to_string(version),
               "written in the other byte order: make it on a little-endian machine");
  file.require(version == 1, "version", "1", std::to_string(version),
               "another version of the format: preprocess the text again");
  const auto type = reader.one<std::uint8_t>("type");
  file.require(type == 4 || type == 8, "type", "4 (int32) or 8 (uint16)", std::to_string(type),
               "not a dataset of token ids that can be trained on");
  layout.token_bytes = type == 4 ? 4 : 2;
  const auto sequences = reader.one<std::uint64_t>("sequence count");
  const auto documents = reader.one<std::uint64_t>("document count");
  const auto lengths = reader.take<std::int32_t>(sequences, "sequence lengths");
  const auto begins = reader.take<std::int64_t>(sequences, "sequence pointers");
  const auto firsts = reader.take<std::int64_t>(documents, "document index");
  std::vector<std::int64_t> before{0};  // ids before each sequence
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    file.require(lengths[i] >= 0 && begins[i] == before.back() * layout.token_bytes,
                 "sequence " + std::to_string(i),
                 "to begin at byte " + std::to_string(before.back() * layout.token_bytes),
                 std::to_string(begins[i]) + ", " + std::to_string(lengths[i]) + " ids", kDamaged);
    before.push_back(before.back() + lengths[i]);
  }
  file.require(!firsts.empty() && firsts.front() == 0 &&
                   firsts.back() == static_cast<std::int64_t>(sequences) &&
                   std::is_sorted(firsts.begin(), firsts.end()),
               "document index", "0 .. " + std::to_string(sequences) + " in rising order",
               "something else", kDamaged);
  std::vector<std::int64_t> ends;
  for (const std::int64_t first : firsts) ends.push_back(before[static_cast<std::size_t>(first)]);
  return ends;
}

class MegatronTokens final : public TokenSource {
 public:
  MegatronTokens(const std::filesystem::path& index, const std::filesystem::path& tokens,
                 const Tokenizer& tokenizer)
      : file_(tokens), eod_(tokenizer.eod()) {
    layout_.vocab_size = tokenizer.vocab_size();
    layout_.remedy =
        "set data.tokenizer to the one that made the file (" + std::string(tokenizer.name()) + ")";
    place_documents(read_index(MappedFile(index), layout_));
    static_cast<void>(count_documents(*this));  // touches every id
  }

  std::int64_t size() const override { return ends_.back().out; }
  std::int64_t documents() const override { return static_cast<std::int64_t>(ends_.size()) - 1; }
  std::int32_t eod() const override { return eod_; }
  void read(std::int64_t first, std::span<std::int32_t> out) const override;

 private:
  /// Where documents end: in the file, and in what read() gives, with the EODs put in.
  struct End {
    std::int64_t stored = 0, out = 0;
  };
  void place_documents(const std::vector<std::int64_t>& stored);

  MappedFile file_;
  PackedLayout layout_;
  std::int32_t eod_;
  std::vector<End> ends_{End{}};  // of nothing, then of each document
};

void MegatronTokens::place_documents(const std::vector<std::int64_t>& stored) {
  const auto bytes = static_cast<std::uint64_t>(stored.back() * layout_.token_bytes);
  file_.require(bytes == file_.size() && bytes > 0, "length",
                std::to_string(bytes) + " bytes (by the index)", std::to_string(file_.size()),
                kDamaged);
  for (const std::int64_t end : stored) {
    const End last = ends_.back();
    if (end == last.stored) continue;
    std::int32_t id = 0;
    read_packed(file_, layout_, end - 1, {&id, 1});
    ends_.push_back({end, last.out + end - last.stored + (id == eod_ ? 0 : 1)});
  }
}

void MegatronTokens::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  auto end = std::ranges::upper_bound(ends_, first, {}, &End::out);
  while (!out.empty()) {
    const End begin = *std::prev(end);
    const std::int64_t inside = first - begin.out;
    const std::int64_t stored = std::max<std::int64_t>(end->stored - begin.stored - inside, 0);
    const auto ids = std::min(out.size(), static_cast<std::size_t>(stored));
    read_packed(file_, layout_, begin.stored + inside, out.first(ids));
    out = out.subspan(ids);
    if (!out.empty() && end->out - begin.out > end->stored - begin.stored) {
      out.front() = eod_;
      out = out.subspan(1);
    }
    first = (end++)->out;
  }
}

}  // namespace

std::unique_ptr<TokenSource> open_megatron(const std::filesystem::path& path,
                                           const Tokenizer& tokenizer) {
  std::filesystem::path index = path, tokens = path;
  return std::make_unique<MegatronTokens>(index.replace_extension(".idx"),
                                          tokens.replace_extension(".bin"), tokenizer);
}

}  // namespace strait::input
