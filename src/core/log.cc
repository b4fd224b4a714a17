#include "core/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>

#include "core/error.h"

namespace strait::core {

struct Log::Impl {
  int rank;
  bool terminal;
  bool progress_shown = false;
  spdlog::logger logger;

  explicit Impl(int r)
      : rank(r),
        terminal(::isatty(STDOUT_FILENO) == 1),
        logger("strait", std::make_shared<spdlog::sinks::stdout_sink_mt>()) {
    const std::string who = rank == 0 ? "" : "rank " + std::to_string(rank) + ": ";
    logger.set_pattern(who + "%v");
    logger.set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
    logger.flush_on(spdlog::level::info);
  }

  void end_progress() {
    if (!progress_shown) return;
    std::fputs("\n", stdout);
    progress_shown = false;
  }
};

Log::Log(int rank) : impl_(std::make_unique<Impl>(rank)) {}
Log::~Log() {
  impl_->end_progress();
}

void Log::open_file(const std::string& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path, false);
    sink->set_pattern("%Y-%m-%dT%H:%M:%S%z %l %v");
    impl_->logger.sinks().push_back(std::move(sink));
  } catch (const spdlog::spdlog_ex& error) {
    throw RuntimeFault(path + ": cannot open the log: " + error.what());
  }
}

void Log::info(const std::string& message) {
  impl_->end_progress();
  impl_->logger.info(message);
}

void Log::warn(const std::string& message) {
  impl_->end_progress();
  impl_->logger.warn("warning: " + message);
}

void Log::progress(const std::string& message) {
  if (impl_->rank != 0) return;
  std::fprintf(stdout, impl_->terminal ? "\r\033[K%s" : "%s\n", message.c_str());
  std::fflush(stdout);
  impl_->progress_shown = impl_->terminal;
}

}  // namespace strait::core
