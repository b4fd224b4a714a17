#!/usr/bin/env bash
# Compares every layout of up to 8 ranks with one rank, in double, for each config of tests/layouts.
#
#   scripts/layout_matrix.sh [BUILD]     build folder, default build/
#
# Exit 0: all agree; 1: a layout differs or failed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/mpi_env.sh
build=${1:-build}

dense=(dp2 dp4 dp8 tp2 tp4 cp2 cp2.ring cp3 cp3.ring cp4 cp4.ring cp8 cp8.ring)
dense+=(dp2tp2 dp2tp4 dp4tp2 dp2cp2 dp2cp2.ring dp2cp4 dp4cp2 tp2cp2 tp2cp2.ring tp2cp4)
dense+=(tp2cp4.ring tp4cp2 tp4cp2.ring dp2tp2cp2 dp2tp2cp2.ring)
moe=(ep2 ep4 ep8 dp4ep2 dp8ep2 dp8ep4 ep2tp2 ep2tp4 ep4tp2 dp4ep2tp2 ep2cp2 ep2cp2.ring)
moe+=(ep2cp4 ep4cp2 dp4ep2cp2 dp2ep2tp2cp2 dp2ep2tp2cp2.ring)
failed=0
for config in tests/layouts/configs/*.json; do
  layouts=("${dense[@]}")
  if [[ $config == *moe* ]]; then layouts+=("${moe[@]}"); fi
  for mask in true false; do
    echo "== $config, documents apart: $mask"
    list=$(IFS=,; echo "${layouts[*]}")
    "$build/tests/layout_check" --config "$config" --set data.document_mask=$mask \
      --layouts "$list" || failed=1
  done
done
exit $failed
