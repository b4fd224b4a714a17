#include "parallel/communicator.h"

#include "core/error.h"
#include "kernels/check.h"

namespace strait::parallel {
namespace {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(const Tensor&, const Stream&) override {}
  std::string broadcast(const std::string& text, int) override { return text; }
  std::vector<std::string> gather_all(const std::string& text) override { return {text}; }
  void barrier() override {}
  std::unique_ptr<Communicator> split(int) override { return make_single(); }
};

/// What a program exits with after `error`.
int exit_code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const core::InputError&) {
    return core::kBadInput;
  } catch (const kernels::OpError&) {
    return core::kBadInput;
  } catch (...) {
    return core::kRuntimeFault;
  }
}

}  // namespace

std::unique_ptr<Communicator> make_single() {
  return std::make_unique<SingleCommunicator>();
}

void together(Communicator& group, const std::function<void()>& work) {
  std::exception_ptr error;
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
  const int code = error ? exit_code_of(error) : 0;
  const std::vector<std::string> codes = group.gather_all(std::to_string(code));
  for (int rank = 0; rank < group.size(); ++rank) {
    if (codes[rank] == "0") continue;
    throw AgreedFailure{std::stoi(codes[rank]), rank == group.rank() ? error : nullptr};
  }
}

}  // namespace strait::parallel
