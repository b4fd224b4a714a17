#!/usr/bin/env python3
"""Compares the ids that ./tokenize writes with those of tokenizers and tiktoken, for GPT-2's files.

  scripts/check_gpt2_ids.py --tokenizer DIR [--tokenize build/bin/tokenize] [--bytes N]
                            [--golden FILE] TEXT.jsonl[.xz]...

DIR holds vocab.json and merges.txt. Takes the first N bytes of text (5,000,000), hostile Unicode
made here, and, with --golden, the strings of a JSON list of {"text", "ids"}. Needs the Python
packages tokenizers and tiktoken. Exit 0: all ids equal; 1: some differ; 2: bad use.
"""
import argparse
import json
import lzma
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
END = 50256


def texts_of(paths, limit):
    taken = 0
    for path in paths:
        opened = lzma.open if path.endswith(".xz") else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if taken >= limit:
                    return
                text = json.loads(line)["text"]
                taken += len(text.encode())
                yield text


def hostile_texts():
    draw = random.Random(7)
    ranges = [(0x20, 0x7F), (0xA0, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x900, 0x97F),
              (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xACFF),
              (0xE000, 0xE0FF), (0xFE00, 0xFE0F), (0xFFF0, 0xFFFD), (0x1F300, 0x1F6FF),
              (0x1D400, 0x1D7FF), (0xE0100, 0xE01EF), (0x10FF00, 0x10FFFF)]
    blanks = "\t\n\x0b\x0c\r \x1c\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff"
    for _ in range(3000):
        letters = []
        for _ in range(draw.randrange(1, 60)):
            low, high = draw.choice(ranges)
            letters.append(draw.choice(blanks) if draw.random() < 0.25
                           else chr(draw.randrange(low, high + 1)))
        yield "".join(letters)
    yield "<|endoftext|>'S 're'LL  don't\u2019s \r\n\r\n   x"
    yield "".join(map(chr, range(1, 0x300)))


def read_shard(path):
    data = path.read_bytes()
    assert data[:8] == b"STRTOK01" and struct.unpack_from("<I", data, 12)[0] == 2
    ids = struct.unpack_from(f"<{(len(data) - 80) // 2}H", data, 80)
    document, out = [], []
    for token in ids:
        if token == END:
            out.append(document)
            document = []
        else:
            document.append(token)
    return out


def tokenized(program, tokenizer, texts):
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "texts.jsonl"
        lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        subprocess.run([program, "--input", lines, "--output", f"{folder}/out", "--tokenizer",
                        tokenizer], check=True, stderr=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
        return read_shard(Path(folder) / "out-00000.tok")


def references(folder):
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from tokenizers import ByteLevelBPETokenizer
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    fast = ByteLevelBPETokenizer(*files)
    slow = tiktoken.Encoding("gpt2", pat_str=PATTERN, special_tokens={"<|endoftext|>": END},
                             mergeable_ranks=data_gym_to_mergeable_bpe_ranks(files[1], files[0]))
    return {"tokenizers": lambda text: fast.encode(text).ids, "tiktoken": slow.encode_ordinary}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--tokenize", default="build/bin/tokenize")
    parser.add_argument("--bytes", type=int, default=5_000_000)
    parser.add_argument("--golden", type=Path)
    parser.add_argument("texts", nargs="+")
    args = parser.parse_args()
    corpus = list(texts_of(args.texts, args.bytes))
    golden = json.loads(args.golden.read_text()) if args.golden else []
    golden = [case for case in golden if case["text"]]
    texts = corpus + list(hostile_texts()) + [case["text"] for case in golden]
    got = tokenized(args.tokenize, args.tokenizer, texts)
    print(f"{len(corpus)} documents, {sum(len(t.encode()) for t in corpus)} bytes, "
          f"{len(texts) - len(corpus) - len(golden)} hostile strings, {len(golden)} golden cases, "
          f"{sum(map(len, got))} ids")
    expected = {name: [encode(text) for text in texts]
                for name, encode in references(args.tokenizer).items()}
    expected["golden"] = got[:len(texts) - len(golden)] + [case["ids"] for case in golden]
    failures = 0
    for name, ids in expected.items():
        different = [i for i in range(len(texts)) if i >= len(got) or got[i] != ids[i]]
        print(f"{name}: {len(different)} of {len(texts)} texts differ")
        for i in different[:3]:
            print(f"  {texts[i][:60]!r}")
        failures += len(different)
    sys.exit(1 if failures or len(got) != len(texts) else 0)


if __name__ == "__main__":
    main()
