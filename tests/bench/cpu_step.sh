#!/usr/bin/env bash
# Training speed on the CPU beside the same model in eager PyTorch: same cores, same run, rounds
# alternating so that a slow minute of the machine hits both.
#
#   tests/bench/cpu_step.sh OUT.json [CONFIG]        CONFIG: quickstart.json by default
#
# Environment: PYTHON (one with torch; default python3), ROUNDS 3, STEPS 30 a round, RANKS 2.
# Cores: those this process may use (taskset -c 0,1 tests/bench/cpu_step.sh ... picks them).
# Needs ./train (scripts/build.sh). Exit 0: at least as fast; 1: slower; 2: bad use.
set -euo pipefail
if [[ $# -lt 1 ]]; then
  echo "cpu_step: names no file; usage: tests/bench/cpu_step.sh OUT.json [CONFIG]" >&2
  exit 2
fi
out=$(realpath -m "$1")
config=${2:-quickstart.json}
command_line="tests/bench/cpu_step.sh $*"
cd "$(dirname "$0")/../.."
source scripts/mpi_env.sh

python=${PYTHON:-python3}
cores=$(core_count)
rounds=${ROUNDS:-3} steps=${STEPS:-30} ranks=${RANKS:-2}
readonly kWarmUp=5
if [[ $steps -le $kWarmUp ]]; then
  echo "cpu_step: STEPS is $steps; the first $kWarmUp are warm-up, so take more" >&2
  exit 2
fi
if ! "$python" -c 'import torch'; then
  echo "cpu_step: $python has no torch; set PYTHON to one that has" >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for ((round = 0; round < rounds; ++round)); do
  share_cores_among "$ranks"
  mpirun -n "$ranks" ./train --config "$config" --set "run.dir=$work/ours$round" \
    --set "train.steps=$steps" --set optim.warmup_steps=0 --set checkpoint.every=-1 \
    --set eval.every=0 --set eval.sequences=1 --set eval.sample_tokens=0 \
    --set eval.sample_prompt= >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 3; }
  OMP_NUM_THREADS=$cores "$python" tests/bench/torch_peer_cpu.py \
    --config "$work/ours$round/config.json" --steps "$steps" --threads "$cores" \
    >"$work/peer$round.json"
  echo "cpu_step: round $((round + 1)) of $rounds done" >&2
done

revision=$(git describe --always --dirty 2>/dev/null || echo unknown)
facts=$(
  DEVICE=$(lscpu | sed -n 's/^Model name: *//p' | head -n 1) CORES=$cores RANKS=$ranks \
    THREADS=$OMP_NUM_THREADS ROUNDS=$rounds STEPS=$steps CONFIG=$config COMMAND=$command_line \
    DATE=$(date -u +%Y-%m-%dT%H:%M:%SZ) REVISION=$revision \
    "$python" -c 'import json, os
names = "device cores ranks threads rounds steps config command date revision".split()
print(json.dumps({name: os.environ[name.upper()] for name in names}))'
)
"$python" tests/bench/cpu_step_report.py "$work" "$out" --skip "$kWarmUp" --facts "$facts"
