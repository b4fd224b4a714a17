#!/usr/bin/env bash
# Encodes texts with a Hugging Face tokenizer; the programs start it. See hf_tokenizer.py.
#
#   scripts/hf_tokenizer.sh TOKENIZER
set -euo pipefail
here=$(dirname "$0")
python=$("$here/python_with.sh" tokenizers </dev/null)
exec "$python" "$here/hf_tokenizer.py" "$@"
