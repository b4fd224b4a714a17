#include "input/text/byte_stream.h"

#ifdef STRAIT_LZMA
#include <lzma.h>
#endif
#ifdef STRAIT_ZSTD
#include <zstd.h>
#endif

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace strait::input {
namespace {

constexpr std::size_t kInputBytes = 1 << 18;

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why) {
  throw core::InputError(path.string() + ": " + why);
}

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(std::filesystem::path path) : path_(std::move(path)) {
    if (!std::filesystem::is_regular_file(path_)) refuse(path_, "no such file");
    file_.open(path_, std::ios::binary);
    if (!file_) refuse(path_, std::string("cannot read: ") + std::strerror(errno));
  }
  std::size_t read(char* out, std::size_t capacity) override {
    file_.read(out, static_cast<std::streamsize>(capacity));
    if (file_.bad()) refuse(path_, std::string("cannot read: ") + std::strerror(errno));
    const auto got = static_cast<std::size_t>(file_.gcount());
    consumed_ += got;
    return got;
  }
  std::uint64_t consumed() const override { return consumed_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  std::uint64_t consumed_ = 0;
};

#ifdef STRAIT_LZMA
class XzStream final : public ByteStream {
 public:
  explicit XzStream(const std::filesystem::path& path) : file_(path), input_(kInputBytes) {
    if (lzma_stream_decoder(&state_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK) {
      throw core::RuntimeFault("liblzma: cannot start a decoder");
    }
  }
  ~XzStream() override { lzma_end(&state_); }

  std::size_t read(char* out, std::size_t capacity) override {
    state_.next_out = reinterpret_cast<std::uint8_t*>(out);
    state_.avail_out = capacity;
    while (state_.avail_out > 0 && !ended_) {
      if (state_.avail_in == 0 && !last_) {
        state_.next_in = reinterpret_cast<std::uint8_t*>(input_.data());
        state_.avail_in = file_.read(input_.data(), input_.size());
        last_ = state_.avail_in == 0;
      }
      const lzma_ret status = lzma_code(&state_, last_ ? LZMA_FINISH : LZMA_RUN);
      ended_ = status == LZMA_STREAM_END;
      if (ended_ || status == LZMA_OK) continue;
      refuse(file_.path(),
             status == LZMA_BUF_ERROR ? "xz data are cut short" : "xz data are damaged");
    }
    return capacity - state_.avail_out;
  }
  std::uint64_t consumed() const override { return file_.consumed(); }

 private:
  PlainStream file_;
  std::vector<char> input_;
  lzma_stream state_ = LZMA_STREAM_INIT;
  bool last_ = false;
  bool ended_ = false;
};

#endif

#ifdef STRAIT_ZSTD
class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(const std::filesystem::path& path)
      : file_(path), input_(kInputBytes), state_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
    if (!state_) throw core::RuntimeFault("zstd: cannot start a decoder");
    ZSTD_DCtx_setParameter(state_.get(), ZSTD_d_windowLogMax, 31);  // what zstd --long may need
  }

  std::size_t read(char* out, std::size_t capacity) override {
    ZSTD_outBuffer filled{out, capacity, 0};
    while (filled.pos < capacity) {
      if (pending_.pos == pending_.size) {
        pending_ = {input_.data(), file_.read(input_.data(), input_.size()), 0};
        if (pending_.size == 0) {
          if (inside_frame_) refuse(file_.path(), "zstd data are cut short");
          break;
        }
      }
      const std::size_t hint = ZSTD_decompressStream(state_.get(), &filled, &pending_);
      if (ZSTD_isError(hint)) {
        refuse(file_.path(), std::string("zstd data are damaged: ") + ZSTD_getErrorName(hint));
      }
      inside_frame_ = hint != 0;
    }
    return filled.pos;
  }
  std::uint64_t consumed() const override { return file_.consumed(); }

 private:
  PlainStream file_;
  std::vector<char> input_;
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> state_;
  ZSTD_inBuffer pending_{nullptr, 0, 0};
  bool inside_frame_ = false;
};
#endif

}  // namespace

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  char magic[6] = {};
  const std::size_t got = PlainStream(path).read(magic, sizeof magic);
  const std::string_view begin(magic, got);
  if (begin == std::string_view("\xFD"
                                "7zXZ\0",
                                6)) {
#ifdef STRAIT_LZMA
    return std::make_unique<XzStream>(path);
#endif
    refuse(path, "this is a build without liblzma; decompress it, or install liblzma-dev");
  }
  if (begin.starts_with("\x28\xB5\x2F\xFD")) {
#ifdef STRAIT_ZSTD
    return std::make_unique<ZstdStream>(path);
#endif
    refuse(path, "this is a build without zstd; decompress it, or install libzstd-dev");
  }
  const std::string suffix = path.extension().string();
  if (suffix == ".xz" || suffix == ".zst") {
    refuse(path, "is not compressed as its name says, or damaged; rename or restore it");
  }
  return std::make_unique<PlainStream>(path);
}

}  // namespace strait::input
