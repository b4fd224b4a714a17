#!/usr/bin/env python3
"""Encodes texts with a Hugging Face tokenizer, through the `tokenizers` library.

  scripts/hf_tokenizer.py TOKENIZER

TOKENIZER: a tokenizer.json, or a folder with one or with GPT-2's vocab.json and merges.txt. Reads
texts from stdin and writes their ids to stdout: each is preceded by its number of bytes, u32 in
native byte order; ids are i32. The number 2^32 - 1 announces an error message instead, which
follows in the same form. No special token is added, and those that stand in a text are taken for
text. Ends with its input. Exit 2: no such tokenizer.
"""
import struct
import sys
from pathlib import Path

ERROR = 0xFFFFFFFF


def load(path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.exists():
        tokenizer = Tokenizer.from_file(str(file))
    else:
        model = models.BPE.from_file(str(path / "vocab.json"), str(path / "merges.txt"))
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def answer(out, data, error=False):
    if error:
        out.write(struct.pack("=I", ERROR))
    out.write(struct.pack("=I", len(data)))
    out.write(data)
    out.flush()


def serve(tokenizer, source, out):
    while header := source.read(4):
        text = source.read(struct.unpack("=I", header)[0])
        try:
            ids = tokenizer.encode(text.decode("utf-8"), add_special_tokens=False).ids
        except UnicodeDecodeError as error:
            answer(out, f"text is not UTF-8: {error}".encode(), error=True)
            continue
        answer(out, struct.pack(f"={len(ids)}i", *ids))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        tokenizer = load(Path(sys.argv[1]))
    except Exception as error:  # the library raises bare Exceptions
        print(f"hf_tokenizer: {sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(2)
    serve(tokenizer, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
