#!/usr/bin/env bash
# Builds for the GPU present, runs all GPU tests and benchmarks, prints a short table last.
#
#   scripts/gpu_check.sh OUT_DIR [build|sanitize|tests|runs|bench ...]   default: all, in this order
#
# OUT_DIR gets logs and bench.json. Exit 0: all passed and nothing skipped; 1: something failed;
# 2: bad use.
# Environment: PYTHON (one with torch for the comparison; default python3), JOBS.
set -uo pipefail
if [[ -z ${1:-} ]]; then
  echo "gpu_check: names no folder for results; usage: scripts/gpu_check.sh OUT_DIR [PART ...]" >&2
  exit 2
fi
out=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.." || exit 3
source scripts/mpi_env.sh
mkdir -p "$out"
parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(build sanitize tests runs bench)
python=${PYTHON:-python3}
readonly kBuild=build-cuda
readonly kBin=$kBuild/bin
readonly kFailed=$out/failed  # a name a line: checks may run beside each other
rm -f "$kFailed" "$out"/{bench,layers}.log

# Runs a command, keeps its output in OUT_DIR/NAME.log and its verdict in the table.
check() {
  local name=$1 started=$SECONDS
  shift
  if "$@" >"$out/$name.log" 2>&1; then
    printf 'ok    %-28s %4ds  %s\n' "$name" $((SECONDS - started)) "$(tail -n 1 "$out/$name.log")"
  else
    printf 'FAIL  %-28s %4ds  see %s\n' "$name" $((SECONDS - started)) "$out/$name.log"
    tail -n 25 "$out/$name.log"
    echo "$name" >>"$kFailed"
  fi
}

# What runs here and nothing else: scripts/test.sh builds and runs the rest.
build() {
  cmake --preset cuda -DSTRAIT_TESTS=ON &&
    cmake --build $kBuild -j "${JOBS:-$(core_count)}" --target train kernels_cuda_test \
      golden_check train_test comm_nccl_test op_bench attention_bench
}

# Runs a command in N processes, each of which takes its share of the tests: most of their time goes
# to the CPU side. A thread each, since all checks together have more processes than 16 cores. They
# keep freed memory: tensors come and go, and new pages cost as much time as what fills them. Tests
# are dealt out in turn, and large ones follow one another by 2, 3 or 24: seven share them evenly.
#   sharded N NAME COMMAND ...
sharded() {
  local n=$1 name=$2 shard code=0 processes=()
  shift 2
  rm -f "$out/${name}"_?.log
  for ((shard = 0; shard < n; ++shard)); do
    GTEST_TOTAL_SHARDS=$n GTEST_SHARD_INDEX=$shard OMP_NUM_THREADS=1 \
      MALLOC_MMAP_THRESHOLD_=$((1 << 30)) MALLOC_TRIM_THRESHOLD_=$((4 << 30)) "$@" \
      >"$out/${name}_$shard.log" 2>&1 &
    processes+=($!)
  done
  for shard in "${processes[@]}"; do wait "$shard" || code=1; done
  cat "$out/${name}"_?.log
  return $code
}

kernel_tests() {
  local code=0
  sharded 7 kernel_tests $kBuild/tests/kernels_cuda_test --gtest_brief=1 || code=1
  if grep -q SKIPPED "$out"/kernel_tests_?.log; then
    echo "tests were skipped: is the GPU visible, and STRAIT_LAUNCH_ONLY not set?"
    code=1
  fi
  grep -ho "PASSED *\] [0-9]*" "$out"/kernel_tests_?.log |
    awk '{n += $NF} END {print n " kernel tests passed"}'
  return $code
}

# Decoding on the GPU, and NCCL with a group of one: what needs two ranks is left out.
other_tests() {
  local two_ranks='*GroupsOfAMesh*:*HostMemoryGoesOn*'
  $kBuild/tests/train/train_test --gtest_brief=1 --gtest_filter='*OnAGpu*' |
    tee "$out/on_a_gpu.log" &&
    ! grep SKIPPED "$out/on_a_gpu.log" &&
    mpirun -n 1 $kBuild/tests/parallel/mpi/comm_nccl_test "--gtest_filter=-$two_ranks" |
    tee "$out/nccl.log" &&
    ! grep SKIPPED "$out/nccl.log"
}

golden() {
  local cases=() folder
  for folder in tests/golden/*/; do
    case $folder in *cca_layers*) continue ;; esac
    cases+=("$folder")
  done
  cases+=(tests/golden/cca_layers/*.safetensors)
  $kBuild/tests/golden_check --device cuda --dtype bf16 "${cases[@]}" &&
    $kBuild/tests/golden_check --device cuda --dtype f32 "${cases[@]}"
}

# The kernel tests under compute-sanitizer, this project's kernels alone. They launch and compare
# nothing, which kernel_tests does with the same cases; such tests count as skipped.
#   sanitized N TOOL FILTER
sanitized() {
  STRAIT_LAUNCH_ONLY=1 sharded "$1" "$2" compute-sanitizer --tool "$2" --kernel-regex kns=strait \
    --report-api-errors no --error-exitcode 1 $kBuild/tests/kernels_cuda_test --gtest_brief=1 \
    "--gtest_filter=$3" && ! grep -q "no CUDA device" "$out/$2"_?.log && return
  grep -h "^=========\|FAILED\|no CUDA device" "$out/$2"_?.log | tail -n 25
  return 1
}

# All but the largest sizes.
memcheck() {
  sanitized 7 memcheck '*:-*/t799*:*/t1023*:*/t4097*:*/deepseek'
}

# racecheck slows a kernel down a hundredfold: small cases that together launch every kernel.
racecheck() {
  local cases=(
    'CudaSwiglu.*' 'CudaCrossEntropy.*' 'CudaElementwise.*' 'CudaEmbedding.*' 'CudaNorm.*'
    'CudaOptimizer.*' 'CudaQkNormRope.*' 'CudaRouting.*'
    'CudaMuon.'{NewtonSchulzFactor,HalfOfASymmetricProduct}
    '*CudaAttention.*/'{golden_8,wide_values,mla_odd_rows,wide_odd}        # portable tiles
    'Hopper/CudaAttention.*/'{groups2_k64,groups2_k128,groups2_k192,groups2_k256}
    'Hopper/CudaAttention.*/'{full_k128,window65_k128}
    'Hopper/CudaAttention.Backward/many_documents_k128'  # planned by a launch of its own
    '*CudaCcaMix.*/'{golden_8,odd_width,width_72,taps4x3,chunks_of_one_row}
    '*CudaCcaMix.*/fused_'{halos,documents}
    '*CudaGroupedGemm.*/'{one_row,odd_rows,all_on_one_expert}
    '*CudaMla.*/'{golden,odd_widths,padded_rows}
    '*CudaPermute.*/'{one_token,t113,odd_rows}
    '*CudaRoute.*/'{softmax,sigmoid,groups_of_one,most_experts}
  )
  (IFS=:; sanitized 4 racecheck "${cases[*]}")
}

# Trains the quickstart model into $out/runs/NAME with further settings.
quick() {
  local name=$1
  shift
  rm -rf "$out/runs/$name"
  $kBin/train --config quickstart.json --set "run.dir=$out/runs/$name" --set eval.sequences=8 \
    --set eval.sample_tokens=0 --set eval.sample_prompt= "$@"
}

# BF16 against FP32 over 200 steps. Two runs of this model that differ by one rounding part as soon
# as a token changes experts (tests/README.md), so the mean curves of eight seeds are compared, and
# FP32 on the GPU stands in for the CPU, which it equals until then.
curves() {
  local seed cpu pairs=() code=0
  # The model is too small for more threads than a few. Threads that wait for each other busily get
  # nowhere while other checks want their cores; one that waits is to sleep.
  OMP_NUM_THREADS=4 OMP_WAIT_POLICY=passive OPENBLAS_NUM_THREADS=1 quick cpu --set run.device=cpu &
  cpu=$!
  for seed in 1 2 3 4 5 6 7 8; do
    quick f32_$seed --set run.device=cuda --set precision.compute=f32 --set run.seed=$seed &
    quick bf16_$seed --set run.device=cuda --set precision.compute=bf16 --set run.seed=$seed ||
      code=1
    wait $! || code=1
    pairs+=("$out/runs/bf16_$seed" "$out/runs/f32_$seed")
  done
  wait $cpu && [[ $code == 0 ]] || return 1
  scripts/compare_losses.py "$out/runs/bf16_1" "$out/runs/cpu" --relative 1
  scripts/compare_losses.py "$out/runs/f32_1" "$out/runs/cpu" --steps 20 --relative 1e-6 &&
    scripts/compare_losses.py "${pairs[@]}" --window 20 --relative 0.005
}

# A run that repeats, recomputes or resumes gives the same bits.
repeats() {
  local gpu=(--set run.device=cuda --set precision.compute=bf16)
  quick again "${gpu[@]}" && quick block "${gpu[@]}" --set train.recompute=block &&
    quick resumed "${gpu[@]}" --set train.steps=120 --set optim.schedule=constant &&
    quick whole "${gpu[@]}" --set optim.schedule=constant &&
    $kBin/train --resume "$out/runs/resumed" --set train.steps=200 &&
    scripts/compare_losses.py "$out/runs/again" "$out/runs/bf16_1" &&
    scripts/compare_losses.py "$out/runs/block" "$out/runs/bf16_1" &&
    scripts/compare_losses.py "$out/runs/resumed" "$out/runs/whole"
}

# Two ranks that share the GPU through host memory follow the run of one; FP32, until tokens change
# experts by a rounding.
ranks() {
  local f32=(--set run.device=cuda --set precision.compute=f32 --set train.steps=20)
  rm -rf "$out/runs/two_ranks"
  quick one_rank "${f32[@]}" &&
    mpirun -n 2 --bind-to none $kBin/train --config quickstart.json --set eval.sequences=8 \
      --set eval.sample_tokens=0 --set eval.sample_prompt= --set "run.dir=$out/runs/two_ranks" \
      "${f32[@]}" &&
    scripts/compare_losses.py "$out/runs/two_ranks" "$out/runs/one_rank" --relative 1e-5
}

# A model that does not fit is refused before anything is allocated, with what would fit.
refusal() {
  local text code=0
  text=$($kBin/train --config bench/dense_mha.json --set train.batch_size=64 --set run.device=cuda \
    --set "run.dir=$out/runs/refused" 2>&1) || code=$?
  echo "$text"
  [[ $code == 2 && ! -e $out/runs/refused && $text == *"train.micro_batch=4: "*", fits"* ]]
}

# Compiles what the benchmark compares with, into a cache, while CPU and GPU have time for it.
warm_peers() {
  "$python" scripts/gpu_bench.py "$kBuild" "$out" --warm &&
    "$python" scripts/attention_grid.py "$kBuild" "$out" --quick --warm
}

bench() {
  "$python" scripts/gpu_bench.py "$kBuild" "$out"
}

layers() {
  "$python" scripts/attention_grid.py "$kBuild" "$out" --quick
}

export TORCHINDUCTOR_CACHE_DIR=$out/inductor
warming=
if [[ ${#parts[@]} -gt 1 && " ${parts[*]} " == *" bench "* ]]; then
  check warm_peers warm_peers &
  warming=$!
fi
for part in "${parts[@]}"; do
  case $part in
    build)
      check build build
      ! grep -qsx build "$kFailed" || break  # nothing to check
      ;;
    sanitize)  # Slow and patient: beside the other checks, but not beside the benchmark.
      check memcheck memcheck &
      check racecheck racecheck &
      ;;
    tests)
      for run in kernel_tests golden other_tests; do check $run $run & done
      ;;
    runs)
      for run in curves repeats ranks; do check $run $run; done
      [[ -z $warming ]] || wait $warming  # what fits depends on what others have taken
      check refusal refusal
      ;;
    bench)  # Alone on the GPU.
      wait
      check bench bench
      check layers layers
      cat "$out"/{bench,layers}.log
      ;;
    *)
      echo "gpu_check: unknown part '$part'; known are build, sanitize, tests, runs, bench" >&2
      exit 2
      ;;
  esac
done
wait
if grep -qs "^SLOWED DOWN" "$out"/{bench,layers}.log; then
  echo "timings and ratios of this run are void, the card was slowed down"
fi
if [[ -e $kFailed ]]; then
  echo "failed: $(tr '\n' ' ' <"$kFailed")"
  exit 1
fi
echo "all passed"
