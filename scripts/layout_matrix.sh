#!/usr/bin/env bash
# Compares layouts of ranks with one rank, for each config of tests/layouts.
#
#   scripts/layout_matrix.sh [BUILD]        all of up to 8 ranks, in double (BUILD: build), again as
#                                           those that write to each other, where there are such
#   scripts/layout_matrix.sh BUILD cuda     all of 2 and 4 ranks that share one GPU, in bf16, four
#                                           configs beside each other
#
# Exit 0: all agree; 1: a layout differs or failed; 2: BUILD has no layout_check, or bad use.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/mpi_env.sh
build=${1:-build}
device=${2:-cpu}
if [[ $device != cpu && $device != cuda ]]; then
  echo "layout_matrix: unknown device '$device'; expected cuda or nothing" >&2
  exit 2
fi
if [[ ! -x $build/tests/layout_check ]]; then
  echo "layout_matrix: no $build/tests/layout_check; build its target, layout_check, first" >&2
  exit 2
fi

if [[ $device == cuda ]]; then
  at_once=4
  dense=(dp2 dp4 tp2 tp4 dp2tp2)
  for cp in cp2 cp4 dp2cp2 tp2cp2; do dense+=("$cp" "$cp.ring"); done
  moe=(ep2 ep4 dp4ep2 ep2tp2 ep2cp2 ep2cp2.ring)
  more=(--device cuda --dtype bf16)
  export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} OMP_NUM_THREADS=1
else
  at_once=1
  # All that four kv heads, eight sequences and eight experts allow; exchanges of keys in both ways.
  dense=(dp2 dp4 dp8 tp2 tp4 dp2tp2 dp2tp4 dp4tp2)
  for cp in cp2 cp3 cp4 cp5 cp6 cp7 cp8 dp2cp2 dp2cp3 dp2cp4 dp4cp2 tp2cp2 tp2cp3 tp2cp4 tp4cp2 \
    dp2tp2cp2; do
    dense+=("$cp" "$cp.ring")
  done
  moe=(ep2 ep4 ep8 dp4ep2 dp8ep2 dp8ep4 ep2tp2 ep2tp4 ep4tp2 dp4ep2tp2)
  for cp in ep2cp2 ep2cp3 ep2cp4 ep4cp2 dp4ep2cp2 ep2tp2cp2; do
    moe+=("$cp" "$cp.ring")
  done
  more=()
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Compares the layouts of one config with documents apart or not; prints all at its end.
compare() {
  local config=$1 mask=$2 log layouts=("${dense[@]}")
  log=$logs/$(basename "$config").$mask
  if [[ $config == *moe* ]]; then layouts+=("${moe[@]}"); fi
  echo "== $config, documents apart: $mask" >"$log"
  "$build/tests/layout_check" --config "$config" --set data.document_mask="$mask" \
    --layouts "$(IFS=,; echo "${layouts[*]}")" "${more[@]}" >>"$log" 2>&1 || touch "$logs/failed"
  if [[ $device == cpu ]]; then
    local writing=()
    for layout in "${layouts[@]}"; do
      if [[ $layout == *[dte]p* ]]; then writing+=("$layout"); fi
    done
    echo "-- ranks write to each other" >>"$log"
    "$build/tests/layout_check" --config "$config" --set data.document_mask="$mask" --peers \
      --layouts "$(IFS=,; echo "${writing[*]}")" >>"$log" 2>&1 || touch "$logs/failed"
  fi
  cat "$log"
}

for config in tests/layouts/configs/*.json; do
  for mask in true false; do
    compare "$config" "$mask" &
    while [[ $(jobs -rp | wc -l) -ge $at_once ]]; do wait -n || true; done
  done
done
wait
[[ ! -e $logs/failed ]]
