#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"

namespace strait::test {

/// A folder of one test, removed at its end.
class Scratch {
 public:
  Scratch() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string("strait_") + test->test_suite_name() + "_" + test->name();
    for (char& c : name) c = c == '/' ? '_' : c;
    folder_ = std::filesystem::path(testing::TempDir()) / name;
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~Scratch() { std::filesystem::remove_all(folder_); }

  std::filesystem::path path(std::string_view name) const { return folder_ / name; }
  const std::filesystem::path& folder() const { return folder_; }

  std::filesystem::path file(std::string_view name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

/// Message of the InputError that `action` throws; "no error" when it throws none.
template <class Action>
std::string input_error(Action&& action) {
  try {
    action();
  } catch (const core::InputError& error) {
    return error.what();
  }
  return "no error";
}

/// Succeeds when `text` holds every part.
inline testing::AssertionResult holds(const std::string& text,
                                      std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    if (text.find(part) == std::string::npos) {
      return testing::AssertionFailure() << "\"" << part << "\" is not in: " << text;
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace strait::test
