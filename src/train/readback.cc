#include "train/readback.h"

namespace strait::train {
namespace {

kernels::HostBuffer mirror(Engine& engine) {
  return {engine.ctx().stream.device, engine.ctx().state.peak()};
}

}  // namespace

Readback::Readback(Engine& engine)
    : engine_(engine),
      host_{mirror(engine), mirror(engine)},
      arrived_{kernels::Event(engine.ctx().stream.device),
               kernels::Event(engine.ctx().stream.device)} {}

void Readback::enqueue(std::int64_t step) {
  const auto slot = static_cast<std::size_t>(step % 2);
  const Tensor block = engine_.ctx().state.block();
  kernels::copy_to_host(host_[slot].as<char>(), block.data, block.bytes(), engine_.ctx().stream);
  arrived_[slot].record(engine_.ctx().stream);
}

void Readback::wait(std::int64_t step) {
  current_ = static_cast<std::size_t>(step % 2);
  arrived_[current_].wait();
}

}  // namespace strait::train
