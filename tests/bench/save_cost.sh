#!/usr/bin/env bash
# What saving every 100 steps costs a training loop: the same run without and with checkpoints,
# interleaved, by metrics.jsonl's step times and by the wall clock between steps.
#
#   tests/bench/save_cost.sh TRAIN OUT_DIR [CONFIG [EVERY [ROUNDS]]]   (bench/dense_ccgqa, 100, 2)
#
# Prints seconds per step of each, and the ratio. The folder needs room for two checkpoints.
set -euo pipefail
train=$(realpath "${1:?usage: save_cost.sh TRAIN OUT_DIR [CONFIG [EVERY [ROUNDS]]]}")
out=$(realpath -m "${2:?usage: save_cost.sh TRAIN OUT_DIR [CONFIG [EVERY [ROUNDS]]]}")
config=${3:-bench/dense_ccgqa} every=${4:-100} rounds=${5:-2}
steps=$((2 * every + 10))
cd "$(dirname "$0")/../.."
mkdir -p "$out"

# Trains and prints the seconds from the end of step 10 to the end of step `steps`, saves included.
seconds_of() {
  local run=$out/run_$1
  rm -rf "$run"
  "$train" --config "$config" --set run.dir="$run" --set train.steps="$steps" \
    --set optim.warmup_steps=1 --set eval.sample_tokens=0 --set eval.sequences=1 \
    --set train.log_every=10 --set checkpoint.every="$2" --set checkpoint.keep=1 2>&1 |
    awk -v last="$steps" '
      { "date +%s.%N" | getline now; close("date +%s.%N") }
      $1 == "step" && $2 == "10/" last { begin = now }
      $1 == "step" && $2 == last "/" last { printf "%.3f\n", now - begin }'
  rm -rf "$run"
}

for ((round = 1; round <= rounds; ++round)); do
  without=$(seconds_of without -1)
  with=$(seconds_of with "$every")
  awk -v a="$without" -v b="$with" -v n=$((steps - 10)) -v r="$round" 'BEGIN {
    printf "round %d: %.4f s a step without saves, %.4f with, ratio %.4f\n", r, a / n, b / n, b / a
  }'
done
