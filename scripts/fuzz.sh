#!/usr/bin/env bash
# Fuzzes the readers of files that others may have written (tests/fuzz) with libFuzzer under
# AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/fuzz.sh [RUNS [TARGET ...]]   RUNS of each (default 20000); targets: safetensors,
#                                         manifest, token_shard, config
#
# Needs clang++; CXX names it. What finds new paths is added to tests/fuzz/corpus with
# STRAIT_FUZZ_GROW=1. Exit 0: nothing found; 1: a crash, a hang, or more memory than a file's size
# explains (the input lies in build/fuzz); 77: no clang++ with libFuzzer.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3
runs=${1:-20000}
shift || true
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(safetensors manifest token_shard config)
cxx=${CXX:-clang++}
readonly kOut=build/fuzz kMaxBytes=4096 kFlags=(-std=c++20 -O1 -g -fno-omit-frame-pointer
  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. -Isrc
  "-DSTRAIT_SOURCE_DIR=\"$PWD\"")
mkdir -p $kOut

if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  "$cxx" -x c++ -fsanitize=fuzzer - -o $kOut/probe 2>/dev/null; then
  echo "fuzz: $cxx has no libFuzzer; install clang, or name one in CXX" >&2
  exit 77
fi

sources_of() {
  case "$1" in
    safetensors) echo src/io/{safetensors,safetensors_header,mapped_file,json_text}.cc \
      src/core/files.cc ;;
    manifest) echo src/io/{manifest,piece,mapped_file,json_text}.cc src/core/{files,hash}.cc ;;
    token_shard) echo src/input/{token_shard,token_source,mapped_file,packed_tokens}.cc \
      src/core/files.cc ;;
    config) echo src/config/*.cc src/core/files.cc ;;
    *) echo "fuzz: unknown target '$1'" >&2; return 1 ;;
  esac
}

failed=0
for target in "${targets[@]}"; do
  read -ra sources <<<"$(sources_of "$target")" || exit 2
  "$cxx" "${kFlags[@]}" "tests/fuzz/${target}_fuzz.cc" "${sources[@]}" -o "$kOut/$target" || exit 1
  corpus=(tests/fuzz/corpus/"$target")
  if [[ -z ${STRAIT_FUZZ_GROW:-} ]]; then
    mkdir -p "$kOut/found_$target"
    corpus=("$kOut/found_$target" "${corpus[@]}")
  fi
  # No reader takes a block of a megabyte for so small a file.
  if "$kOut/$target" -runs="$runs" -max_len=$kMaxBytes -malloc_limit_mb=1 -timeout=5 \
    -artifact_prefix="$kOut/$target-" -print_final_stats=1 "${corpus[@]}" \
    >"$kOut/$target.log" 2>&1; then
    echo "ok    $target: $(grep -o 'number_of_executed_units: *[0-9]*' "$kOut/$target.log" |
      grep -o '[0-9]*$') runs"
  else
    echo "FAIL  $target, see $kOut/$target.log"
    tail -n 20 "$kOut/$target.log"
    failed=1
  fi
done
exit $failed
