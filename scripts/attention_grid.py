#!/usr/bin/env python3
"""Attention cores and whole attention layers beside PyTorch, over the grid of the CCA paper.

usage: attention_grid.py BUILD_DIR OUT_DIR [--quick] [--no-peer] [--budget SECONDS] [--warm]

D = 2048, batch 1, BF16, forward and backward. Every row is measured by both sides in turn, those of
--quick (the ones that issues set bars for) twice, by replaying CUDA graphs: tests/attention_bench
(the layers of training) and tests/bench/torch_rows.py (cuDNN's SDPA; layers under torch.compile at
some lengths, which compile before anything is measured). Rows come in order of importance; how many
were left when the budget was spent is told.

Prints tables and writes OUT_DIR/attention.json, which scripts/plot_attention.py draws. TFLOP/s
count the (query, key) pairs that the mask leaves, 2 products forward and 5 backward, and every
product of a layer once forward and twice backward. A card that heat or its power supply held back
before or after the rows is told, in the JSON as "slowdown": times and ratios are void then. --warm
only compiles the peer's layers, into OUT_DIR/inductor.

Exit code 0 when every row was measured or skipped for want of time, 1 when a row failed.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WIDTH = 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
# Name, kind of layer, and what the heads of MHA are divided by for queries and for keys.
METHODS = (
    ("MHA", "mha", 1, 1),
    ("CCA-4x", "cca", 4, 4),
    ("CCA-2x8x", "ccgqa", 2, 8),
    ("CCA-8x", "cca", 8, 8),
    ("16q/4kv", "ccgqa", 1, 4),
    ("MLA", "mla", 1, 1),
    ("GQA-4", "gqa", 1, 4),
    ("GQA-8", "gqa", 1, 8),
)
# The peer's layers, each compiled by itself: lengths of all methods, and of those with bars.
PEER_LENGTHS = {4096, 16384}
PEER_SHORT = {(name, length) for name in ("MHA", "CCA-4x") for length in (512, 1024)}
PEERS = 8  # processes that compile at once
# The bars: CCA-4x whole layers against these.
BARS = (
    ("MHA", 16384, 3.7, 3.6),
    ("CCA-4x", 16384, 1.3, 1.15),
    ("CCA-4x", 4096, 1.2, 1.2),
    ("CCA-4x", 1024, 1.0, 1.0),
    ("CCA-4x", 512, 1.0, 1.0),
)


def make_row(what, method, head_dim, length, causal):
    name, kind, fewer_queries, fewer_keys = method
    heads = WIDTH // head_dim
    if heads < fewer_keys or (kind == "mla" and head_dim != 128):
        return None
    if what == "core" and name == "16q/4kv":
        return None  # the core of GQA-4
    rope = 64 if kind == "mla" else 0
    return {
        "what": what,
        "name": name,
        "kind": kind,
        "heads": heads // fewer_queries,
        "groups": heads // fewer_keys,
        "key_dim": head_dim + rope,
        "value_dim": head_dim,
        "length": length,
        "causal": causal,
        "rounds": 7 if length <= 4096 else 5 if length <= 16384 else 1,
        "round_ms": 5,
    }


def full_grid():
    """Every row, the most wanted first."""
    order = [
        (what, head_dim, causal, length)
        for head_dim in (128, 64, 256)
        for causal in (True, False)
        for what in ("layer", "core")
        for length in LENGTHS
    ]
    order.sort(key=lambda point: point[1] != 128 and point[3] > 16384)
    rows = [
        make_row(what, method, head_dim, length, causal)
        for what, head_dim, causal, length in order
        for method in METHODS
    ]
    return [row for row in rows if row]


def is_quick(row):
    if not row["causal"] or row["name"] not in ("MHA", "CCA-4x", "CCA-2x8x", "CCA-8x", "GQA-4"):
        return False
    if row["what"] == "layer":
        bars = {("CCA-4x", length) for length in (512, 1024, 4096, 16384)} | {("MHA", 16384)}
        return row["value_dim"] == 128 and (row["name"], row["length"]) in bars
    return row["value_dim"] in (64, 128) and row["length"] in (4096, 16384)


def has_peer(row):
    if row["what"] == "core":
        return row["value_dim"] == 128 or row["length"] in PEER_LENGTHS
    known = row["length"] in PEER_LENGTHS or (row["name"], row["length"]) in PEER_SHORT
    return row["value_dim"] == 128 and row["causal"] and known


def flops_of(row):
    """(forward, backward)"""
    length, heads = row["length"], row["heads"]
    pairs = heads * length * (length + 1) / 2 if row["causal"] else heads * length * length
    dk, dv = row["key_dim"], row["value_dim"]
    forward, backward = 2 * pairs * (dk + dv), 2 * pairs * (3 * dk + 2 * dv)
    if row["what"] == "core":
        return forward, backward
    queries, keys = heads * dv, row["groups"] * dv
    weights = WIDTH * (2 * queries + 2 * keys)
    if row["kind"] == "mla":
        latents = WIDTH // 2 + WIDTH // 4
        weights = (WIDTH * (latents + dk - dv) + WIDTH // 2 * heads * dk
                   + WIDTH // 4 * heads * 2 * dv + queries * WIDTH)
    elif row["kind"] in ("cca", "ccgqa"):
        weights += (queries + keys) * (2 + 2 * dv)  # two taps each
    products = 2 * length * weights
    return forward + products, backward + 2 * products


class Side:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command, log, **environment):
        self.log = open(log, "w")
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, env=os.environ | environment)

    def ask(self, request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"error": f"ended; see {self.log.name}"}

    def close(self):
        self.process.communicate()


class Peers:
    """Peer processes, and which of them compiled which layer."""

    def __init__(self, rows, out):
        layers = [row for row in rows if row["what"] == "layer" and has_peer(row)]
        count = max(1, min(PEERS, len(layers)))
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": "2", "OMP_NUM_THREADS": "2",
                       "TORCHINDUCTOR_CACHE_DIR": str(out / "inductor")}
        self.sides = [
            Side([sys.executable, ROOT / "tests/bench/torch_rows.py"], out / f"peer_{i}.log",
                 **environment)
            for i in range(count)
        ]
        self.of_row = {id(row): i % count for i, row in enumerate(layers)}
        answers = [None] * count

        def prepare(i):
            mine = [row for row in layers if self.of_row[id(row)] == i]
            answers[i] = self.sides[i].ask({"do": "prepare", "rows": mine})

        threads = [threading.Thread(target=prepare, args=(i,)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.failures = [answer["error"] for answer in answers if "error" in answer]

    def measure(self, row):
        return self.sides[self.of_row.get(id(row), 0)].ask({"do": "measure", "row": row})

    def close(self):
        for side in self.sides:
            side.close()


def measure_row(row, ours, peers):
    """Each side in turn; milliseconds of a side are the median of its turns."""
    turns = {"ours": [], "peer": []}
    for _ in range(2 if is_quick(row) else 1):
        turns["ours"].append(ours.ask(row))
        if peers and has_peer(row):
            turns["peer"].append(peers.measure(row))
    result = dict(row)
    for side, answers in turns.items():
        errors = [answer["error"] for answer in answers if "error" in answer]
        if errors:
            result[side + "_error"] = errors[0]
        elif answers:
            result[side] = {name: statistics.median(answer[name] for answer in answers)
                            for name in ("fwd_ms", "bwd_ms")}
    return result


def show_row(row, ceiling):
    flops = dict(zip(("fwd", "bwd"), flops_of(row)))
    mask = "causal" if row["causal"] else "full"
    text = f"{row['what']:5} {row['name']:9} d {row['value_dim']:3} {mask:6} {row['length']:6}"
    for side in ("ours", "peer"):
        if side + "_error" in row:
            text += f"  {side}: {row[side + '_error'][:80]}"
    for name, work in flops.items():
        if "ours" not in row:
            continue
        ms = row["ours"][name + "_ms"]
        rate = work / ms * 1e-9
        text += f"  {name} {ms:9.4f} ms {rate:5.0f} TFLOP/s {100 * rate / ceiling:3.0f} %"
        if "peer" in row:
            text += f" {row['peer'][name + '_ms'] / ms:5.2f}x"
    print(text, flush=True)


def show_bars(rows):
    """CCA-4x layers against the peer's, as the bars put it."""
    layers = {(row["name"], row["length"]): row for row in rows
              if row["what"] == "layer" and row["value_dim"] == 128 and row["causal"]}
    for name, length, forward, backward in BARS:
        mine, other = layers.get(("CCA-4x", length), {}), layers.get((name, length), {})
        if "ours" not in mine or "peer" not in other:
            continue
        ratios = [other["peer"][p] / mine["ours"][p] for p in ("fwd_ms", "bwd_ms")]
        print(f"bar   CCA-4x layer against the compiled {name:6} of {length:5} tokens: "
              f"fwd {ratios[0]:.2f}x (bar {forward}x)  bwd {ratios[1]:.2f}x (bar {backward}x)")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--budget", type=float, default=600, help="seconds, compiling included")
    parser.add_argument("--warm", action="store_true")
    arguments = parser.parse_args()
    started = time.time()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows = [row for row in full_grid() if is_quick(row) or not arguments.quick]
    peers = None if arguments.no_peer else Peers(rows, out)
    failures = peers.failures if peers else []
    print(f"prepared in {time.time() - started:.0f} s", *failures, sep="\n  ", flush=True)
    if arguments.warm:
        peers.close()
        sys.exit(1 if failures else 0)
    ours = Side([arguments.build.resolve() / "tests/attention_bench", "--serve"], out / "ours.log")
    report = ours.ask({"what": "ceiling"})
    if "error" in report:
        sys.exit(f"attention_grid: {report['error']}")
    ceiling = report["tflop_s"]
    print(f"{report['device']}: product 8192^3 {ceiling:.0f} TFLOP/s; ratios are the peer's time "
          "over ours")
    report["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%FT%TZ")
    report["rows"] = []
    for row in rows:
        if time.time() - started > arguments.budget:
            print(f"{len(rows) - len(report['rows'])} rows left when the budget was spent")
            break
        report["rows"].append(measure_row(row, ours, peers))
        show_row(report["rows"][-1], ceiling)
    after = ours.ask({"what": "ceiling"})
    report["tflop_s_after"] = after.get("tflop_s")
    report["slowdown"] = after.get("slowdown") or report["slowdown"]
    (out / "attention.json").write_text(json.dumps(report, indent=1) + "\n")
    show_bars(report["rows"])
    if report["slowdown"]:
        print(f"SLOWED DOWN, times and ratios are void: {report['slowdown']}")
    for side in (ours, *(peers.sides if peers else ())):
        side.close()
    failed = failures + [row["ours_error"] for row in report["rows"] if "ours_error" in row]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
