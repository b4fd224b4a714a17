#!/usr/bin/env bash
# Compares layouts of ranks with one rank, for each config of tests/layouts.
#
#   scripts/layout_matrix.sh [BUILD]        all of up to 8 ranks, in double (BUILD: build)
#   scripts/layout_matrix.sh BUILD cuda     some of 2 and 4 ranks that share one GPU, in bf16
#
# Exit 0: all agree; 1: a layout differs or failed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/mpi_env.sh
build=${1:-build}
device=${2:-cpu}

if [[ $device == cuda ]]; then
  dense=(dp2 cp2 cp2.ring tp2 tp2cp2 dp2tp2)
  moe=(ep2 ep2tp2)
  masks=(true)
  more=(--device cuda --dtype bf16)
  export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
else
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
  masks=(true false)
  more=()
fi
failed=0
for config in tests/layouts/configs/*.json; do
  layouts=("${dense[@]}")
  if [[ $config == *moe* ]]; then layouts+=("${moe[@]}"); fi
  for mask in "${masks[@]}"; do
    echo "== $config, documents apart: $mask"
    list=$(IFS=,; echo "${layouts[*]}")
    "$build/tests/layout_check" --config "$config" --set data.document_mask="$mask" \
      --layouts "$list" "${more[@]}" || failed=1
  done
done
exit $failed
