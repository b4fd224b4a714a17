#!/usr/bin/env bash
# Turns a folder of text into token shards, training and validation apart.
#
#   scripts/prepare_corpus.sh DIR [OUT [TOKENIZER [OPTION...]]]
#
# DIR holds .jsonl, .json, .ndjson (an object with "text" a line) or, without any of these, .txt
# files, also as .xz or .zst. Files whose name begins with val or test are for validation, each
# apart; without such files every 200th document is. OUT: folder of the shards (data/DIR's name).
# TOKENIZER: as data.tokenizer, such as a folder with vocab.json and merges.txt, or the number of
# tokens of a SentencePiece model to train on the text first (bytes). OPTIONs are passed on to
# ./tokenize (--help), such as --order mixpr. Started again, it goes on where it was stopped. Ends
# with the lines that a config needs.
#
# Exit codes: those of ./tokenize (0 well, 2 bad input, 3 a fault).
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
die() { echo "prepare_corpus: $1" >&2; exit 2; }

[[ $# -ge 1 ]] || die "names no folder: scripts/prepare_corpus.sh DIR [OUT [TOKENIZER [OPTION...]]]"
dir=${1%/}
[[ -d $dir ]] || die "$dir is no folder"
out=${2:-data/$(basename "$(cd "$dir" && pwd)")}
tokenizer=${3:-bytes}
shift $(($# < 3 ? $# : 3))
program=${STRAIT_TOKENIZE:-$here/tokenize}
[[ -x $program ]] || die "$program is not built: scripts/build.sh makes it"

shopt -s nullglob extglob
files=("$dir"/*.@(jsonl|json|ndjson)?(.xz|.zst))
# Notes beside JSON lines are .txt files too: those are text only where there is nothing else.
[[ ${#files[@]} -gt 0 ]] || files=("$dir"/*.txt?(.xz|.zst))
train=() val=()
for file in "${files[@]}"; do
  case $(basename "$file") in
    val* | test*) val+=("$file") ;;
    *) train+=(--input "$file") ;;
  esac
done
[[ ${#train[@]} -gt 0 ]] || die "$dir holds no .jsonl, .json, .ndjson or .txt file to train on"

mkdir -p "$out"
if [[ $tokenizer =~ ^[0-9]+$ ]]; then
  model=$out/spm-$tokenizer.model
  [[ -e $model ]] || "$program" "${train[@]}" --output "$model" --train-sentencepiece "$tokenizer"
  tokenizer=$model
fi
# Validation files stay apart, for a loss of each.
if [[ ${#val[@]} -gt 0 ]]; then
  "$program" "${train[@]}" --output "$out/train" --tokenizer "$tokenizer" "$@"
  shards=train held=
  for file in "${val[@]}"; do
    name=$(basename "$file")
    name=${name%%.*}
    "$program" --input "$file" --output "$out/$name" --tokenizer "$tokenizer"
    held+="${held:+, }$out/$name-*.tok"
  done
else
  "$program" "${train[@]}" --output "$out/text" --tokenizer "$tokenizer" --holdout 200 "$@"
  shards=text-train held="$out/text-val-*.tok"
fi
cat <<EOF
"data": {
  "train": "$out/$shards-*.tok",
  "val": "$held",
  "tokenizer": "$tokenizer"
}
EOF
