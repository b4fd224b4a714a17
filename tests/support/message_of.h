#pragma once

#include <string>

namespace strait::test {

/// The message of the exception that `call` throws, or "" when it throws none of that type.
template <class Exception, class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace strait::test
