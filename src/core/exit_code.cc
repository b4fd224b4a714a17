#include "core/exit_code.h"

#include "kernels/check.h"

namespace strait::core {

ExitCode exit_code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const CheckFailed&) {
    return kCheckFailed;
  } catch (const InputError&) {
    return kBadInput;
  } catch (const kernels::OpError&) {
    return kBadInput;
  } catch (...) {
    return kRuntimeFault;
  }
}

}  // namespace strait::core
