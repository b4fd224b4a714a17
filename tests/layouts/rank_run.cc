#include "tests/layouts/rank_run.h"

#include <deque>

#include "core/rng.h"
#include "input/windows.h"
#include "kernels/elementwise.h"
#include "model/traffic.h"
#include "parallel/device_share.h"
#include "parallel/grad_sync.h"
#include "tests/layouts/message_peers.h"
#include "train/plan.h"
#include "train/step.h"

namespace strait::layouts {
namespace {

/// Sequences of a global batch. Documents, where the config keeps them apart, are of 1 to 9 tokens
/// and at times of half a sequence: some end at every kind of chunk edge.
input::Samples batch_of(const config::Config& config, std::int64_t step) {
  const core::Rng rng(static_cast<std::uint64_t>(config.run.seed), "layouts");
  input::Samples samples;
  samples.resize(config.train.batch_size, config.data.seq_len);
  const std::int64_t length = config.data.seq_len;
  const auto vocab = static_cast<double>(config.model.vocab_size);
  for (std::int64_t row = 0; row < samples.count; ++row) {
    std::int64_t left = 0, position = 0;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t at = row * length + i;
      const auto draw = [&](std::uint64_t which) {
        return rng.uniform(3 * (static_cast<std::uint64_t>(step * samples.count * length + at)) +
                           which);
      };
      if (config.data.document_mask && left == 0) {
        position = 0;
        left = draw(2) < 0.2 ? length / 2 + 1 : 1 + static_cast<std::int64_t>(9 * draw(0));
      }
      samples.ids[at] = static_cast<std::int32_t>(vocab * draw(0));
      samples.labels[at] =
          draw(1) < 0.1 ? input::kIgnoredLabel : static_cast<std::int32_t>(vocab * draw(1));
      samples.doc_pos[at] = static_cast<std::int32_t>(position++);
      --left;
    }
  }
  return samples;
}

class Run {
 public:
  Run(const config::Config& config, parallel::Communicator& world, Device device, bool peers)
      : mesh_(parallel::Mesh::make(config.parallel, world.rank(), world.size())),
        groups_(mesh_, world,
                {.own_gpus = parallel::share_devices(device, world).own_gpus,
                 .overlap = config.parallel.overlap,
                 .one_host = true}),
        engine_(config, mesh_, groups_) {
    train::plan_step(engine_);
    engine_.allocate(device);
    engine_.connect();
    if (peers) connect();
  }

  /// Of batch `draw` into `values`, the loss of the first too.
  void gradients(std::int64_t draw, RankValues& values) {
    parallel::Ctx& ctx = engine_.ctx();
    core::ParamTable& table = engine_.table();
    const input::Samples samples = batch_of(engine_.config(), draw);
    const double labels = static_cast<double>(input::counted_labels(samples));
    kernels::launch(kernels::Fill{.x = engine_.values().slice(0, 0, 1), .value = 1.0 / labels},
                    ctx.stream);
    table.begin_gradients();
    kernels::launch(kernels::Fill{.x = table.flat().grad, .value = 0}, ctx.stream);
    engine_.model().begin_step(ctx);
    groups_.traffic().reset();
    parallel::GradSync sync(table, groups_, ctx.stream.device, engine_.config().parallel,
                            ctx.peers);
    ctx.sync = &sync;
    for (std::int64_t i = 0; i < engine_.micro_batches(); ++i) {
      ctx.tokens = &load(samples, i);
      if (i + 1 == engine_.micro_batches()) sync.begin();
      engine_.model().forward_backward(ctx);
    }
    sync.join(ctx.stream);
    ctx.sync = nullptr;
    const std::string bytes_error = compare_bytes();
    sync.finish(ctx.stream);
    gather_gradients();
    const Tensor loss = engine_.model().loss_sum();
    for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
      groups_.axis(axis).all_reduce_sum(loss, ctx.stream);
    }
    values.gradients.push_back(pieces_of(table, Field::gradient, ctx.stream));
    double sum = 0;
    kernels::copy_to_host(&sum, loss.data, sizeof sum, ctx.stream);
    kernels::synchronise(ctx.stream);
    if (draw == 0) values.loss = sum / labels;
    if (values.bytes_error.empty()) values.bytes_error = bytes_error;
    ctx.state.release(0);
  }

  std::vector<Piece> weights(std::int64_t steps) {
    train::Step step(engine_);
    for (std::int64_t n = 1; n <= steps; ++n) {
      const input::Samples samples = batch_of(engine_.config(), n);
      step.run({.micro_batch = [&](std::int64_t i) -> const parallel::TokenBatch& {
                  return load(samples, i);
                },
                .micro_batches = engine_.micro_batches(),
                .labels = static_cast<double>(input::counted_labels(samples)),
                .lr = engine_.config().optim.lr,
                .step = n});
      kernels::synchronise(engine_.ctx().stream);
    }
    return pieces_of(engine_.table(), Field::weight, engine_.ctx().stream);
  }

  /// Collective: the memory of this run may go.
  void end() { engine_.disconnect(); }

 private:
  /// As Engine::connect on GPUs, with room for less to arrive at a time than most gradients are.
  void connect() {
    constexpr std::int64_t kArrivingBytes = 4096;
    arriving_.take(DType::u8, {mesh_.dp, kArrivingBytes});
    arriving_.allocate(Device::cpu);
    const auto reached = [&](core::Axis axis) -> parallel::Peers* {
      parallel::Communicator& group = groups_.axis(axis);
      std::vector<const core::Arena*> arenas = engine_.arenas();
      arenas.push_back(&engine_.table().weights());
      arenas.push_back(&arriving_);
      return group.alone() ? nullptr : &peers_.emplace_back(group, arenas);
    };
    engine_.ctx().peers = {.tensor = reached(core::Axis::tp),
                           .ahead = reached(core::Axis::ep),
                           .dispatch = reached(core::Axis::ep),
                           .collect = reached(core::Axis::ep),
                           .data = reached(core::Axis::dp),
                           .expert_data = reached(core::Axis::edp),
                           .arriving = arriving_.take(DType::u8, {mesh_.dp, kArrivingBytes})};
  }

  /// Gives every rank the gradients that their owners have.
  void gather_gradients() {
    const Stream& stream = engine_.ctx().stream;
    for (const core::Segment& segment : engine_.table().segments()) {
      if (segment.ranks == 1) continue;
      for (const core::Param* param : engine_.table().in_memory_order()) {
        if (!segment.holds(*param)) continue;
        const parallel::Owned piece{param->owner, param->grad};
        groups_.axis(segment.axis).share_from_owners(std::span(&piece, 1), stream, "test");
      }
    }
  }

  /// Rows that go between expert ranks, by the routers' own counts of this step, which they add up
  /// over ranks only at its end. Routers count no padding, though it has rows too: `most` takes all
  /// of its rows to go to other ranks.
  struct RowBounds {
    model::ExpertRows least, most;
  };
  RowBounds expert_rows() {
    parallel::Communicator& group = groups_.axis(core::Axis::ep);
    const auto micro_batches = static_cast<double>(engine_.micro_batches());
    RowBounds rows;
    for (const layers::RouterTotals& layer : engine_.model().router_totals()) {
      const std::int64_t experts = layer.counts.numel();
      std::vector<std::int64_t> all(static_cast<std::size_t>(experts * group.size()));
      std::vector<std::int64_t> mine(static_cast<std::size_t>(experts));
      kernels::copy_to_host(mine.data(), layer.counts.data, layer.counts.bytes(),
                            engine_.ctx().stream);
      kernels::synchronise(engine_.ctx().stream);
      group.all_gather(Tensor(mine.data(), DType::i64, {experts}),
                       Tensor(all.data(), DType::i64, {experts * group.size()}), Stream{}, "test");
      const double rows_of_rank = micro_batches *
                                  static_cast<double>(engine_.ctx().tokens->rows()) *
                                  static_cast<double>(engine_.config().model.ffn.moe.top_k);
      for (int source = 0; source < group.size(); ++source) {
        double counted = 0;
        for (std::int64_t expert = 0; expert < experts; ++expert) {
          const auto choices = static_cast<double>(all[source * experts + expert]);
          counted += choices;
          if (source == expert * group.size() / experts) continue;
          if (source == group.rank()) rows.least.sent += choices;
          if (expert * group.size() / experts == group.rank()) rows.least.received += choices;
        }
        double& padding = source == group.rank() ? rows.most.sent : rows.most.received;
        padding += rows_of_rank - counted;
      }
    }
    rows.most.sent += rows.least.sent;
    rows.most.received += rows.least.received;
    rows.least.micro_batches = rows.most.micro_batches = micro_batches;
    return rows;
  }

  /// Bytes that this rank should have sent at each boundary of cp, tp and ep: from, to.
  std::map<std::string, std::pair<double, double>> expected_bytes() {
    std::map<std::string, std::pair<double, double>> expected;
    const auto micro_batches = static_cast<double>(engine_.micro_batches());
    for (const auto& term : model::traffic_of(engine_.config(), engine_.shard().cut())) {
      expected[term.boundary] = {term.bytes * micro_batches, term.bytes * micro_batches};
    }
    const RowBounds rows = expert_rows();
    for (const auto& term : model::expert_traffic_of(engine_.config(), rows.least)) {
      expected[term.boundary].first = term.bytes;
    }
    for (const auto& term : model::expert_traffic_of(engine_.config(), rows.most)) {
      expected[term.boundary].second = term.bytes;
    }
    return expected;
  }

  /// What the ranks of the cp, tp and ep axes sent, to the byte; of ep to the rows of padding.
  std::string compare_bytes() {
    std::map<std::string, double> counted;
    for (const auto& [boundary, count] : groups_.traffic().counts()) {
      const bool by_formula =
          boundary.starts_with("cp ") || boundary.starts_with("tp ") || boundary.starts_with("ep ");
      if (by_formula) counted[boundary] = static_cast<double>(count.bytes);
    }
    const auto expected = expected_bytes();
    std::string error;
    for (const auto& [boundary, bytes] : expected) {
      if (bytes.first <= counted[boundary] && counted[boundary] <= bytes.second) continue;
      error += boundary + " sent " + std::to_string(counted[boundary]) + " bytes, by formula " +
               std::to_string(bytes.first) + " to " + std::to_string(bytes.second) + "; ";
    }
    for (const auto& [boundary, bytes] : counted) {
      if (bytes > 0 && !expected.contains(boundary)) error += boundary + " has no formula; ";
    }
    return error;
  }

  /// Micro-batch i of this data rank's share.
  const parallel::TokenBatch& load(const input::Samples& samples, std::int64_t i) {
    const std::int64_t rows = engine_.micro_batch();
    const std::int64_t first = (mesh_.dp_rank * engine_.micro_batches() + i) * rows;
    const auto part = [&](const std::vector<std::int32_t>& all) {
      return std::span(all).subspan(static_cast<std::size_t>(first * samples.seq_len),
                                    static_cast<std::size_t>(rows * samples.seq_len));
    };
    return engine_.shard().load(part(samples.ids), part(samples.labels), part(samples.doc_pos),
                                engine_.ctx().stream);
  }

  parallel::Mesh mesh_;
  parallel::Groups groups_;
  train::Engine engine_;
  core::Arena arriving_{"arriving"};
  std::deque<MessagePeers> peers_;
};

}  // namespace

RankValues run_rank(const config::Config& config, parallel::Communicator& world, Device device,
                    const RunOptions& options) {
  Run run(config, world, device, options.peers);
  RankValues values;
  for (std::int64_t draw = 0; draw < options.draws; ++draw) run.gradients(draw, values);
  if (options.steps > 0) values.weights = {run.weights(options.steps)};
  run.end();
  return values;
}

}  // namespace strait::layouts
