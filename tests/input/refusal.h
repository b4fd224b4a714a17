#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/error.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

namespace strait::test {

/// Message of the InputError that `action` throws; "" when it throws none.
template <class Action>
std::string input_error(Action&& action) {
  return message_of<core::InputError>(action);
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
