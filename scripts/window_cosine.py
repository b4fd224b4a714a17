#!/usr/bin/env python3
"""How alike the documents are that share a training window, against a random order of them.

  scripts/window_cosine.py [--window 4096] [--seed 1] SHARD.tok...

Reads Strait shards as a run does, one after another, and cuts them every --window tokens
(data.seq_len). Terms are token ids, weighted by TF-IDF (tf * (ln((1 + N) / (1 + df)) + 1), those in
more than 10 % of the documents left out), documents whole; prints the mean cosine over all pairs of
documents that lie in one window, as the shards have them and shuffled. This is another program and
another TF-IDF than ./tokenize --order mixpr uses. Needs numpy. Exit 2: bad use.
"""
import argparse
import struct
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("window_cosine: needs numpy; scripts/python_with.sh numpy prints a Python with it")


def read_documents(paths):
    for path in paths:
        with open(path, "rb") as file:
            header = file.read(80)
            if header[:8] != b"STRTOK01":
                print(f"window_cosine: {path}: not a Strait shard", file=sys.stderr)
                sys.exit(2)
            width, = struct.unpack_from("<I", header, 12)
            end, = struct.unpack_from("<Q", header, 40)
            ids = np.fromfile(file, dtype=f"<u{width}")
        ends = np.flatnonzero(ids == end) + 1
        yield from np.split(ids, ends)[:len(ends)]


def tfidf(documents):
    """(terms, weights) of each document, the weights of length 1."""
    counts = [np.unique(document[:-1], return_counts=True) for document in documents]
    df = np.zeros(max(int(terms.max()) for terms, _ in counts if len(terms)) + 1)
    for terms, _ in counts:
        df[terms] += 1
    idf = np.log((1 + len(documents)) / (1 + df)) + 1
    idf[df > 0.1 * len(documents)] = 0
    rows = []
    for terms, tf in counts:
        weights = tf * idf[terms]
        kept = weights > 0
        terms, weights = terms[kept].astype(np.int64), weights[kept]
        rows.append((terms, weights / max(np.sqrt((weights ** 2).sum()), 1e-30)))
    return rows


def mean_cosine(order, lengths, rows, window):
    """Over all pairs of documents in a window: (|sum of rows|^2 - sum of |row|^2) / (n (n - 1))."""
    total = pairs = 0.0
    ends = np.cumsum(lengths[order])
    for begin in range(0, int(ends[-1]), window):
        first = np.searchsorted(ends, begin, side="right")
        last = np.searchsorted(ends, min(begin + window, int(ends[-1])), side="left")
        members = [rows[d] for d in order[first:last + 1]]
        if len(members) < 2:
            continue
        _, place = np.unique(np.concatenate([terms for terms, _ in members]), return_inverse=True)
        weights = np.concatenate([w for _, w in members])
        summed = np.bincount(place, weights=weights) if len(place) else np.zeros(1)
        total += (summed ** 2).sum() - (weights ** 2).sum()
        pairs += len(members) * (len(members) - 1)
    return total / max(pairs, 1)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--window", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("shards", nargs="+")
    args = parser.parse_args()
    documents = list(read_documents(args.shards))
    lengths = np.array([len(document) for document in documents])
    rows = tfidf(documents)
    given = np.arange(len(documents))
    shuffled = np.random.default_rng(args.seed).permutation(len(documents))
    a, b = (mean_cosine(order, lengths, rows, args.window) for order in (given, shuffled))
    print(f"{len(documents)} documents, windows of {args.window} tokens: mean cosine {a:.4f}, in "
          f"random order {b:.4f}, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
