#!/usr/bin/env bash
# What one save costs a training loop, by the wall clock between lines of its log: EVERY steps in
# which one checkpoint is taken, written and published, against the steps before, in which none is.
#
#   tests/bench/save_cost.sh TRAIN OUT_DIR [CONFIG [EVERY]]   (bench/dense_mha, 100)
#
# Prints seconds a step, and those that the save cost, also as a share of 100 steps. OUT_DIR needs
# room for a checkpoint; its disk is part of the result. The run is ended before a second save.
set -euo pipefail
if [[ $# -lt 2 ]]; then
  echo "save_cost: usage: tests/bench/save_cost.sh TRAIN OUT_DIR [CONFIG [EVERY]]" >&2
  exit 2
fi
train=$(realpath "$1")
out=$(realpath -m "$2")
config=${3:-bench/dense_mha} every=${4:-100}
cd "$(dirname "$0")/../.."
mkdir -p "$out"
run=$out/save_cost_run
rm -rf "$run"

# A line of "SECONDS TEXT" for each line of the log, up to step 2 * EVERY - 5.
timed() {
  python3 -u -c '
import sys, time
for line in sys.stdin:
    print(f"{time.monotonic():.4f} {line}", end="", flush=True)
    if line.startswith(f"step {sys.argv[1]}/"):
        break' $((2 * every - 5))
}

"$train" --config "$config" --set run.dir="$run" --set train.steps=$((2 * every)) \
  --set optim.warmup_steps=1 --set eval.every=1000000 --set eval.sample_tokens=0 \
  --set train.log_every=1 --set checkpoint.every="$every" --set checkpoint.keep=1 \
  > >(timed >"$out/save_cost.log") 2>&1 &
training=$!
# The reader ends before the second save begins, and the run with it, at its next line.
while kill -0 $training 2>/dev/null && ! grep -q "step $((2 * every - 5))/" "$out/save_cost.log" \
  2>/dev/null; do sleep 0.5; done
kill -KILL $training 2>/dev/null || true
wait $training 2>/dev/null || true
du -sb "$run"/checkpoints/step_* | awk '{printf "checkpoint of %.2f GB\n", $1 / 1e9}'
rm -rf "$run"
awk -v every="$every" '
  $2 == "step" { split($3, at, "/"); when[at[1] + 0] = $1 }
  $2 == "saved" && !saved { saved = $1 }
  END {
    first = 10; last = every - 5; end = 2 * every - 5
    step = (when[last] - when[first]) / (last - first)
    extra = when[end] - when[last] - (end - last) * step
    if (!saved) { print "save_cost: nothing was saved before step " end; exit 1 }
    printf "%.4f s a step; saving took %.1f s beside training and cost it %.2f s: ", step,
           saved - when[every], extra
    printf "%.2f %% of 100 steps\n", extra / step
  }' "$out/save_cost.log"
