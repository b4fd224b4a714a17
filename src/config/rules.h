#pragma once

#include <string>
#include <string_view>

#include "config/config.h"
#include "config/origins.h"

// What the rules of validate and resolve share; only their .cc files include this.
namespace strait::config {

/// A config under test and where its values come from. Both must outlive this.
class Rules {
 public:
  Rules(const Config& config, const Origins& origins) : config_(config), origins_(origins) {}

  const Config& config() const { return config_; }

  /// Throws InputError "origin: path = value: message"; `path` is a key of the table.
  [[noreturn]] void fail(std::string_view path, const std::string& message) const;

  /// Fails on the first key below `section` that is away from its default: it would be ignored
  /// because of `cause`, which is a key too.
  void expect_unused(std::string_view section, std::string_view cause) const;

  /// "path = value" of a key, for messages about another one; " (--set)" follows where that says
  /// so.
  std::string quote(std::string_view path) const;

 private:
  const Config& config_;
  const Origins& origins_;
};

/// init.from names a checkpoint and nothing says what the model is: the checkpoint will.
bool awaits_import(const Config& config);

/// The positive multiples of `step` around `number`: "6 or 8".
std::string multiples_near(std::int64_t number, std::int64_t step);

void validate_attention(const Rules& rules);
void validate_ffn(const Rules& rules);
void validate_parallel(const Rules& rules);

}  // namespace strait::config
