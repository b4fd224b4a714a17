#include "parallel/communicator.h"

#include "core/exit_code.h"

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
  const int code = error ? core::exit_code_of(error) : core::kOk;
  const std::vector<std::string> codes = group.gather_all(std::to_string(code));
  for (int rank = 0; rank < group.size(); ++rank) {
    if (codes[rank] == "0") continue;
    throw AgreedFailure{std::stoi(codes[rank]), rank == group.rank() ? error : nullptr};
  }
}

}  // namespace strait::parallel
