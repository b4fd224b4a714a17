#!/usr/bin/env python3
"""Writes the documents of a dataset of the Hugging Face hub, or of parquet files, as JSON lines.

  scripts/hub_text.py NAME [--config CONFIG] [--split train] [--key text] [--bytes N] > text.jsonl
  scripts/hub_text.py FILE.parquet... [--key text] > text.jsonl

Streams: nothing is kept, and a compressor after a pipe (zstd, xz) keeps the file small. --bytes
stops after N bytes of text, --skip leaves out the first documents, to go on with another file.
Needs the Python package datasets, and the network for a NAME. Exit 2: bad use.
"""
import argparse
import json
import sys


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--config")
    parser.add_argument("--split", default="train")
    parser.add_argument("--key", default="text")
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0)
    args = parser.parse_args()
    try:
        from datasets import load_dataset
    except ImportError:
        print("hub_text: needs the Python package datasets", file=sys.stderr)
        sys.exit(2)
    if args.names[0].endswith(".parquet"):
        rows = load_dataset("parquet", data_files=args.names, split="train", streaming=True)
    else:
        rows = load_dataset(args.names[0], args.config, split=args.split, streaming=True)
    written = 0
    for row in rows.skip(args.skip):
        text = row[args.key]
        sys.stdout.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        written += len(text.encode())
        if 0 < args.bytes <= written:
            break


if __name__ == "__main__":
    main()
