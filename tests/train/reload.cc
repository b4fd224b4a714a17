#include <cstdio>
#include <exception>

#include "io/checkpoint_saver.h"
#include "parallel/comm_mpi.h"
#include "train/engine.h"
#include "train/load_config.h"

// reload RUN TO [KEY=VALUE ...], under mpirun: the newest checkpoint of a run, loaded by ranks in
// the layout of the overrides and saved by them in TO.
namespace {

using namespace strait;

void run(int argc, char** argv, parallel::Communicator& world) {
  const std::filesystem::path from = argv[1];
  config::Source source{.name = (from / "config.json").string(),
                        .overrides = {"parallel.dp=0", "train.micro_batch=0"}};
  for (int i = 3; i < argc; ++i) source.overrides.push_back(argv[i]);
  const config::Config config = train::load_config(source, world.size(), false);
  const auto mesh = parallel::Mesh::make(config.parallel, world.rank(), world.size());
  parallel::Groups groups(mesh, world);
  train::Engine engine(config, mesh, groups);
  engine.table().allocate(Device::cpu);
  const auto found = io::find_checkpoint(from / "checkpoints", true);
  io::load_checkpoint(found.folder.value(), engine.table(), Stream{});
  io::CheckpointSaver(std::filesystem::path(argv[2]) / "checkpoints", engine.table(), world, {},
                      Stream{})
      .save(io::read_checkpoint_state(*found.folder));
}

}  // namespace

int main(int argc, char** argv) {
  parallel::MpiSession mpi(&argc, &argv);
  try {
    run(argc, argv, mpi.world());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "reload: %s\n", error.what());
    mpi.abort(1);
  }
  return 0;
}
