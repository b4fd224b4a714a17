#!/bin/sh
# Stands in for `train`: fake_train.sh --config FILE --set run.dir=DIR --resume auto
#
# Notes each start in $FAKE_LOG and writes what a finished run leaves, its loss the lowest at a
# learning rate of 0.002. Runs whose folder matches $FAKE_FAIL end with $FAKE_CODE instead; with
# $FAKE_ONCE only the first time.
set -eu
dir=${4#run.dir=}
mkdir -p "$dir"
echo "$dir gpu=${CUDA_VISIBLE_DEVICES:-none}" >>"$FAKE_LOG"
case $dir in
  *${FAKE_FAIL:-nothing}*)
    if [ ! -e "$dir/failed" ] || [ -z "${FAKE_ONCE:-}" ]; then
      : >"$dir/failed"
      echo "broken on purpose" >&2
      exit "${FAKE_CODE:-3}"
    fi
    ;;
esac
sleep "${FAKE_SLEEP:-0}"
steps=$(sed -n 's/.*"steps": \([0-9]*\),.*/\1/p' "$2")
rate=$(sed -n 's/.*"lr": \([0-9.e-]*\),.*/\1/p' "$2")
loss=$(awk "BEGIN { off = $rate * 1000 - 2; print 3.5 + (off < 0 ? -off : off) / 10 }")
[ "$rate" != 0.0003 ] || loss=3.5  # the default
cat >"$dir/metrics.jsonl" <<LINES
{"step": $steps, "tokens": 100, "tok_s": 50}
{"event": "eval", "step": $steps, "val_loss": $loss, "val_bpb": 1.5}
LINES
