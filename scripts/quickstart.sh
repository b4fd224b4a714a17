#!/usr/bin/env bash
# From a clean clone to a trained model: installs, builds, trains configs/quickstart.json on two
# ranks, plots the loss, and says where everything is. Under five minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/mpi_env.sh
readonly kRanks=2

started=$SECONDS
say() { printf '\n== %s (%ds)\n' "$1" $((SECONDS - started)); }

# The last by name of what find says is directly in folder $1.
newest() { find "$1" -mindepth 1 -maxdepth 1 "${@:2}" 2>/dev/null | sort | tail -n 1; }

say "packages"
scripts/install_deps.sh

say "build"
programs=()
for source in src/app/*.cc; do programs+=("$(basename "$source" .cc)"); done
# Compiling for GPUs takes minutes: only where there is one.
cuda=OFF
if command -v nvcc >/dev/null && nvidia-smi -L >/dev/null 2>&1; then cuda=ON; fi
scripts/build.sh cpu "-DSTRAIT_CUDA=$cuda" --target "${programs[@]}"

say "mpirun -n $kRanks ./train --config quickstart.json"
share_cores_among "$kRanks"
before=$(mktemp)
trap 'rm -f "$before"' EXIT
mpirun -n "$kRanks" ./train --config quickstart.json
run=$(newest runs -type d -name 'quickstart-*' -newer "$before")
if [[ -z $run ]]; then
  echo "quickstart: training ended but left no folder runs/quickstart-*" >&2
  exit 3
fi

say "plot"
plot="none (see above)"
if python=$(scripts/plot_python.sh); then
  plot=$("$python" scripts/plot_loss.py "$run") || plot="none (see above)"
fi

say "done"
root_hint=""
if [[ $(id -u) -eq 0 ]]; then
  root_hint="
As root, Open MPI wants this once in your shell, before any mpirun:
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"
fi
cat <<END
run folder    $run
  config      $run/config.json (every value resolved; provenance.json beside it)
  metrics     $run/metrics.jsonl
  log         $run/log.txt
  checkpoint  $(newest "$run/checkpoints")
loss plot     $plot
$root_hint
Train again, in a new folder:
  mpirun -n $kRanks ./train --config quickstart.json
Go on from the checkpoint, up to N steps:
  mpirun -n $kRanks ./train --resume $run --set train.steps=N
END
